"""RandAugment for whole batches on their device: each operation runs once per batch, not once per image."""

from keepcore.policy.randaugment import PolicyDraws, RandAugment
from keepcore.policy.spaces import SPACES

__all__ = ["SPACES", "PolicyDraws", "RandAugment"]
