"""Images of one digit each, in ImageFolder layout, with masks in the parallel folder ``masks/``."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from imagesets.demo.paint import Paint, colour, put, stroke, write


class Look(NamedTuple):
    """The appearance of the images, which sets their difficulty.

    Attributes:
        side: side length of the image, pixels.
        sizes: smallest and largest side length of the digit, pixels.
        angle: largest rotation, degrees.
        bright: white digits on dark backgrounds instead of any colour on any background.
    """

    side: int
    sizes: tuple[int, int]
    angle: float
    bright: bool


COLOURFUL = Look(64, (40, 60), 15.0, bright=False)
BRIGHT = Look(32, (24, 31), 8.0, bright=True)
"""Easy enough to learn from few labels: four examples of a class are enough to start with."""


def make(root: Path, paint: Paint, seed: int, counts: dict[str, int], look: Look = COLOURFUL) -> None:
    """Write ``{train,val}/<digit>/<number>.jpg`` and ``masks/{train,val}/<digit>/<number>.png``.

    Source: the demo set's own design.
    """
    for part_index, (part, count) in enumerate(counts.items()):
        for digit in range(10):
            (root / part / str(digit)).mkdir(parents=True)
            (root / "masks" / part / str(digit)).mkdir(parents=True)
        rng = np.random.default_rng([seed, 1, part_index])
        for number in range(count):
            digit = number % 10
            image = paint.background(rng, look.side, look.side)
            mask = np.zeros((look.side, look.side), np.uint8)
            size = int(rng.integers(*look.sizes))
            angle = float(rng.uniform(-look.angle, look.angle))
            alpha = stroke(paint.pick(rng, digit, part), size, size, angle)
            top, left = rng.integers(0, look.side - size + 1, 2)
            tint = colour(rng)
            if look.bright:
                image, tint = image * np.float32(0.4), np.float32(200) + tint * np.float32(0.2)
            put(image, mask, alpha, int(top), int(left), tint)
            name = f"{digit}/{number:05d}"
            write(image, mask, root / part / f"{name}.jpg", root / "masks" / part / f"{name}.png")
