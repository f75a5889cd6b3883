"""AutoAugment for CIFAR, with the magnitudes of its authors' code."""

from collections.abc import Callable

import torch
from PIL import Image
from torchvision.transforms.autoaugment import AutoAugment as TorchvisionAutoAugment
from torchvision.transforms.autoaugment import AutoAugmentPolicy

from pretrain.baselines.randaugment import apply_operation

SIGNED = {"Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"}


def _enhance(level: int) -> float:
    return 0.1 + 0.18 * level


# Operation -> level in 0-9 -> magnitude, see :func:`apply_operation`
MAGNITUDES: dict[str, Callable[[int], float]] = {
    "Rotate": lambda level: 3 * level,
    "Posterize": lambda level: 4 - int(0.4 * level),
    "Solarize": lambda level: 256 - int(25.6 * level),
    "ShearX": lambda level: 0.03 * level,
    "ShearY": lambda level: 0.03 * level,
    "TranslateX": lambda level: level,
    "TranslateY": lambda level: level,
    "Color": _enhance,
    "Contrast": _enhance,
    "Brightness": _enhance,
    "Sharpness": _enhance,
}


class AutoAugment:
    """Applies one of 25 pairs of operations, each with its own probability and level; PIL image -> PIL image.

    Source: Cubuk et al., CVPR 2019 (the 25 pairs, as in torchvision); tensorflow/models research/autoaugment
    augmentation_transforms.py (magnitudes). torchvision's own magnitudes are others: Posterize keeps 8 to 4 bits
    instead of 4 to 1, enhancements have a random sign, and translations reach 14.5 px of 32 instead of 10.
    Differs from the paper: its code has 95 pairs, which include these.
    """

    def __init__(self) -> None:
        self.pairs = TorchvisionAutoAugment(AutoAugmentPolicy.CIFAR10).policies

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the augmented image; draws from torch's global generator."""
        pair = self.pairs[int(torch.randint(len(self.pairs), ()))]
        for name, probability, level in pair:
            if torch.rand(()) < probability:
                magnitude = float(MAGNITUDES[name](level)) if name in MAGNITUDES else 0.0
                negative = name in SIGNED and torch.rand(()) < 0.5
                image = apply_operation(name, image, -magnitude if negative else magnitude)
        return image
