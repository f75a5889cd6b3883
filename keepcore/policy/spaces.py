"""What a level means: operation -> magnitude, on two published scales."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

LevelFn = Callable[[Tensor, int, int], Tensor]


@dataclass(frozen=True)
class Op:
    """One operation of a space.

    Attributes:
        at: level, height, width -> magnitude in the operation's unit: degrees (Rotate), pixels a row or column
            (Shear), pixels (Translate, Cutout), bits (Posterize), threshold 0-256 (Solarize), factor.
        signed: the magnitude's sign is drawn.
        around: added after the sign: 1 for factors that go up or down.
    """

    at: LevelFn
    signed: bool = False
    around: float = 0.0


@dataclass(frozen=True)
class Space:
    """Operations that RandAugment draws from.

    Attributes:
        ops: by name.
        top: the highest level.
    """

    ops: dict[str, Op]
    top: int


def _nothing() -> Op:
    return Op(lambda level, height, width: level * 0)


def _factor() -> Op:
    return Op(lambda level, height, width: level * 0.9 / 30, signed=True, around=1.0)


def _enhance() -> Op:
    return Op(lambda level, height, width: level * 1.8 / 10 + 0.1)


def _shear(full: float) -> Op:
    return Op(lambda level, height, width: level * 0.3 / full, signed=True)


TORCHVISION = Space(
    {
        "Identity": _nothing(),
        "ShearX": _shear(30),
        "ShearY": _shear(30),
        "TranslateX": Op(lambda level, height, width: level / 30 * 150 / 331 * width, signed=True),
        "TranslateY": Op(lambda level, height, width: level / 30 * 150 / 331 * height, signed=True),
        "Rotate": Op(lambda level, height, width: level, signed=True),
        "Brightness": _factor(),
        "Color": _factor(),
        "Contrast": _factor(),
        "Sharpness": _factor(),
        "Posterize": Op(lambda level, height, width: (8 - level * 4 / 30).round()),
        "Solarize": Op(lambda level, height, width: 255 * (1 - level / 30)),
        "AutoContrast": _nothing(),
        "Equalize": _nothing(),
    },
    top=30,
)
UDA = Space(
    {
        "Invert": _nothing(),
        "Cutout": Op(lambda level, height, width: level * 2),
        "Sharpness": _enhance(),
        "AutoContrast": _nothing(),
        "Posterize": Op(lambda level, height, width: 4 - (level * 4 / 10).floor()),
        "ShearX": _shear(10),
        "TranslateX": Op(lambda level, height, width: level, signed=True),
        "TranslateY": Op(lambda level, height, width: level, signed=True),
        "ShearY": _shear(10),
        "Rotate": Op(lambda level, height, width: level * 3, signed=True),
        "Equalize": _nothing(),
        "Contrast": _enhance(),
        "Color": _enhance(),
        "Solarize": Op(lambda level, height, width: 256 - (level * 256 / 10).floor()),
        "Brightness": _enhance(),
    },
    top=10,
)
SPACES: dict[str, Space] = {"tv31": TORCHVISION, "uda": UDA}
"""``tv31``: torchvision's 14 operations, levels 0-30. ``uda``: the 15 of google-research/uda, levels 0-10."""
