"""64 px images of one digit each, in ImageFolder layout, with masks in the twin folder ``masks/``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from keepcore.run.demo.paint import Paint, colour, put, stroke, write

SIDE = 64


def make(root: Path, paint: Paint, seed: int, counts: dict[str, int]) -> None:
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
            image = paint.background(rng, SIDE, SIDE)
            mask = np.zeros((SIDE, SIDE), np.uint8)
            size = int(rng.integers(40, 60))
            alpha = stroke(paint.pick(rng, digit, part), size, size, float(rng.uniform(-15, 15)))
            top, left = rng.integers(0, SIDE - size + 1, 2)
            put(image, mask, alpha, int(top), int(left), colour(rng))
            name = f"{digit}/{number:05d}"
            write(image, mask, root / part / f"{name}.jpg", root / "masks" / part / f"{name}.png")
