"""RandAugment on the magnitude scales of published implementations, which disagree on the meaning of "M = 24"."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import rand_augment_transform
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from keepcore.policy.randaugment import MEAN_COLOUR

TORCHVISION_BINS = 31
Colour = tuple[int, int, int]
GREY: Colour = (128, 128, 128)  # of uncovered areas in tensorflow/tpu


@dataclass(frozen=True)
class Range:
    """One operation's magnitude as a function of the level.

    Attributes:
        low: magnitude at level 0.
        high: magnitude at ``full``.
        full: level at which the magnitude is ``high``; higher levels extrapolate.
        signed: negate the magnitude with probability 1/2.
    """

    low: float
    high: float
    full: float
    signed: bool = False

    def at(self, level: float) -> float:
        """Return the magnitude at a level."""
        return self.low + (self.high - self.low) * level / self.full


def _ranges(full: float, *, solarize_add: str, cutout: float) -> dict[str, Range]:
    enhance = Range(0.1, 1.9, full)
    shear, translate = Range(0.0, 0.3, full, signed=True), Range(0.0, 100.0, full, signed=True)
    nothing = Range(0.0, 0.0, full)
    return {
        "AutoContrast": nothing,
        "Equalize": nothing,
        "Invert": nothing,
        "Rotate": Range(0.0, 30.0, full, signed=True),
        "Posterize": Range(0.0, 4.0, full),
        "Solarize": Range(0.0, 256.0, full),
        solarize_add: Range(0.0, 110.0, full),
        "Color": enhance,
        "Contrast": enhance,
        "Brightness": enhance,
        "Sharpness": enhance,
        "ShearX": shear,
        "ShearY": shear,
        "CutoutAbs": Range(0.0, cutout, full),
        "TranslateX": translate,
        "TranslateY": translate,
    }


RANGES: dict[str, dict[str, Range]] = {
    "ildoonet": _ranges(30.0, solarize_add="AddThenSolarize", cutout=40.0),
    "tpu10": _ranges(10.0, solarize_add="SolarizeAdd", cutout=80.0),  # its 40 px are half a side
}
"""Scale -> operation -> range of its magnitude. Posterize and Solarize become *weaker* as the level rises."""


def rand_augment(scale: str, num_ops: int, level: int) -> Callable[[Any], Any]:
    """Build RandAugment: N random operations, all at the same level.

    Args:
        scale: ``tv31`` (torchvision, levels 0-30), ``ildoonet`` (0-30), ``tpu10`` (0-10, extrapolated beyond) or
            ``timm`` (0-10, capped at 10; each operation is applied with probability 1/2).
        num_ops: number of operations, N.
        level: magnitude M on that scale.

    Returns:
        A transform PIL image -> PIL image that draws from torch's global generator.

    Raises:
        ValueError: the scale is unknown, or the level is outside it.

    Source: Cubuk et al., 2020; torchvision v2 (tv31), ildoonet/pytorch-randaugment, tensorflow/tpu (tpu10), timm.
    Differs from the paper: it does not state the scale of its magnitudes; tv31 is the one on which severity keeps
    rising up to its M = 24.
    """
    if num_ops < 0:
        raise ValueError(f"policy.num_ops must not be negative, got {num_ops}")
    if scale == "tv31":
        if not 0 <= level < TORCHVISION_BINS:
            raise ValueError(f"policy.magnitude must be in 0-30 on the tv31 scale, got {level}")
        return v2.RandAugment(num_ops, level, num_magnitude_bins=TORCHVISION_BINS, fill=list(MEAN_COLOUR))
    if level < 0:
        raise ValueError(f"policy.magnitude must not be negative, got {level}")
    if scale == "timm":
        return Reseeded(rand_augment_transform(f"rand-m{level}-n{num_ops}", {"img_mean": MEAN_COLOUR}))
    if scale not in RANGES:
        raise ValueError(f"policy.scale must be one of tv31, {', '.join(RANGES)}, timm, got {scale!r}")
    return Operations(RANGES[scale], num_ops, level, GREY if scale == "tpu10" else MEAN_COLOUR)


class Operations:
    """Applies N operations, drawn with replacement.

    Source: Cubuk et al., 2020.
    """

    def __init__(self, ranges: dict[str, Range], num_ops: int, level: float, fill: Colour) -> None:
        self.ranges, self.num_ops, self.level, self.fill = ranges, num_ops, level, fill

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the augmented image."""
        names = list(self.ranges)
        for index in torch.randint(len(names), (self.num_ops,)).tolist():
            bounds = self.ranges[names[index]]
            sign = -1.0 if bounds.signed and torch.rand(()) < 0.5 else 1.0
            image = apply_operation(names[index], image, sign * bounds.at(self.level), self.fill)
        return image


class Reseeded:
    """Seeds Python's and NumPy's global generators from torch's before it calls a transform that uses them."""

    def __init__(self, transform: Callable[[Any], Any]) -> None:
        self.transform = transform

    def __call__(self, image: Any) -> Any:
        """Return the transformed image."""
        seed = int(torch.randint(2**31, ()))
        random.seed(seed)
        np.random.seed(seed)
        return self.transform(image)


def apply_operation(name: str, image: Image.Image, magnitude: float, fill: Colour = MEAN_COLOUR) -> Image.Image:
    """Apply one operation of :data:`RANGES`.

    Args:
        name: name of the operation.
        image: RGB image.
        magnitude: degrees (Rotate), slope (Shear), pixels (Translate, CutoutAbs), bits (Posterize), threshold
            (Solarize), offset (SolarizeAdd, AddThenSolarize) or factor (Color, Contrast, Brightness, Sharpness).
        fill: RGB colour of uncovered and cut areas, 0 to 255.

    Returns:
        A new image of the same size.

    Source: ildoonet/pytorch-randaugment augmentations.py (definitions only); torchvision (kernels).
    """
    operations: dict[str, Callable[[], Image.Image]] = {
        "AutoContrast": lambda: F.autocontrast(image),
        "Equalize": lambda: F.equalize(image),
        "Invert": lambda: F.invert(image),
        "Rotate": lambda: F.rotate(image, magnitude, fill=list(fill)),
        "Posterize": lambda: F.posterize(image, max(1, min(8, int(magnitude)))),
        "Solarize": lambda: F.solarize(image, min(256.0, magnitude)),
        "SolarizeAdd": lambda: image.point(_solarize_add(magnitude)),
        "AddThenSolarize": lambda: F.solarize(image.point(_add(magnitude)), 128.0),
        "Color": lambda: F.adjust_saturation(image, magnitude),
        "Contrast": lambda: F.adjust_contrast(image, magnitude),
        "Brightness": lambda: F.adjust_brightness(image, magnitude),
        "Sharpness": lambda: F.adjust_sharpness(image, magnitude),
        "ShearX": lambda: _affine(image, (0, 0), (magnitude, 0.0), fill),
        "ShearY": lambda: _affine(image, (0, 0), (0.0, magnitude), fill),
        "CutoutAbs": lambda: _cut_square(image, magnitude, fill),
        "TranslateX": lambda: _affine(image, (int(magnitude), 0), (0.0, 0.0), fill),
        "TranslateY": lambda: _affine(image, (0, int(magnitude)), (0.0, 0.0), fill),
    }
    return operations[name]()


def _affine(image: Image.Image, shift: tuple[int, int], slopes: tuple[float, float], fill: Colour) -> Image.Image:
    shear = [math.degrees(math.atan(slope)) for slope in slopes]
    centre = [0, 0] if any(slopes) else None
    warped: Image.Image = F.affine(
        image, angle=0.0, translate=list(shift), scale=1.0, shear=shear, fill=list(fill), center=centre
    )
    return warped


def _solarize_add(offset: float) -> Sequence[int]:
    return [min(255, value + int(offset)) if value < 128 else value for value in range(256)] * 3


def _add(offset: float) -> Sequence[int]:
    return [min(255, value + int(offset)) for value in range(256)] * 3


def _cut_square(image: Image.Image, side: float, fill: Colour) -> Image.Image:
    """Fill a square around a random point, clipped at the image border."""
    half = int(side) / 2
    x, y = torch.rand(()).item() * image.width, torch.rand(()).item() * image.height
    left, top = int(max(0, x - half)), int(max(0, y - half))
    right, bottom = int(min(image.width, left + side)), int(min(image.height, top + side))
    out = image.copy()
    if right > left and bottom > top:
        out.paste(fill, (left, top, right, bottom))
    return out
