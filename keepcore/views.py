"""Two views of one image for any dataset: clean and augmented, after one shared crop and flip."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ORDERS = ("after_crop", "before_crop")


def _same(image: Any) -> Any:
    return image


@dataclass(frozen=True)
class TwoViews:
    """A dataset transform: image -> (clean, augmented), pixel-aligned.

    Pasting a region back needs both views to show the same pixels, so crop and flip are drawn once.

    Attributes:
        shared: crop and flip. For ``"before_crop"`` it must transform several images alike when called as
            ``shared(a, b)``, which torchvision's v2 transforms do.
        policy: RandAugment, AutoAugment or any image -> image.
        finish: last transform of each view, e.g. ``v2.PILToTensor()``.
        order: ``"after_crop"``: crop, then policy (torchvision, timm). ``"before_crop"``: policy on the whole
            image, then the same crop on both (AutoAugment's CIFAR recipes).

    Raises:
        ValueError: the order is unknown.

    Example:
        >>> TwoViews(shared=lambda x: x + 1, policy=lambda x: -x)(1)
        (2, -2)

    Source: Gong et al., CVPR 2021, Eq. 3 (x and x' = A(x)).
    Differs from the paper: it does not state the order of crop and policy.
    """

    shared: Callable[..., Any]
    policy: Callable[[Any], Any]
    finish: Callable[[Any], Any] = _same
    order: str = "after_crop"

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ValueError(f"order must be one of {', '.join(ORDERS)}, got {self.order!r}")

    def __call__(self, image: Any) -> tuple[Any, Any]:
        """Return (clean, augmented)."""
        if self.order == "before_crop":
            clean, augmented = self.shared(image, self.policy(image))
        else:
            clean = self.shared(image)
            augmented = self.policy(clean)
        return self.finish(clean), self.finish(augmented)
