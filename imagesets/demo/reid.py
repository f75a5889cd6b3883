"""Identities seen by four cameras, in the layout and with the file names of Market-1501.

An identity is one writer's digit in two colours of its own; a camera has its own light, blur and view.
"""

from pathlib import Path
from typing import Any

import numpy as np

from imagesets.demo.paint import Array, Paint, blurred, colour, put, stroke, write

HEIGHT, WIDTH, CAMERAS = 128, 64, 4
FOLDERS = ("bounding_box_train", "query", "bounding_box_test")


def make(root: Path, paint: Paint, seed: int, *, train: int, test: int) -> None:
    """Write the three Market-1501 folders and ``masks/``; ids 2, 4, ... are for training, 3, 5, ... for testing.

    The test set has one query and three gallery images per identity and camera, distractors (id 0000) of other
    identities, and junk (id -1) from badly placed boxes.

    Source: the demo set's own design; names of Market-1501's readme.
    """
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
        (root / "masks" / folder).mkdir(parents=True)
    rng = np.random.default_rng([seed, 3])
    cameras = [_Camera(rng) for _ in range(CAMERAS)]
    for index in range(train + test):
        person = _Person(rng, paint)
        training = index < train
        number = 2 * index + 2 if training else 2 * (index - train) + 3
        for camera in range(CAMERAS):
            for shot in range(4):
                folder = FOLDERS[0] if training else FOLDERS[1] if shot == 0 else FOLDERS[2]
                name = f"{number:04d}_c{camera + 1}s1_{index * 16 + shot:06d}_{shot:02d}"
                _shoot(rng, paint, person, cameras[camera], root, folder, name)
    for index in range(3 * test):
        person, camera = _Person(rng, paint), int(rng.integers(CAMERAS))
        name = f"0000_c{camera + 1}s1_{index:06d}_00"
        _shoot(rng, paint, person, cameras[camera], root, FOLDERS[2], name)
        if index % 2:
            name = f"-1_c{camera + 1}s1_{index:06d}_00"
            _shoot(rng, paint, person, cameras[camera], root, FOLDERS[2], name, shift=60)


class _Person:
    """One writer's digit with an upper and a lower colour and a size."""

    def __init__(self, rng: np.random.Generator, paint: Paint) -> None:
        self.digit: Array = paint.digits[rng.integers(len(paint.digits))]
        self.upper, self.lower = colour(rng), colour(rng)
        self.height = int(rng.integers(92, 116))
        self.width = int(rng.integers(46, 60))


class _Camera:
    """Light (gain per channel), blur and view (scale and tilt)."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.gain = rng.uniform(0.6, 1.15) * rng.uniform(0.85, 1.15, 3)
        self.blur = float(rng.uniform(0.0, 1.5))
        self.scale = float(rng.uniform(0.8, 1.0))
        self.tilt = float(rng.uniform(-8, 8))


def _shoot(
    rng: np.random.Generator,
    paint: Paint,
    person: _Person,
    camera: _Camera,
    root: Path,
    folder: str,
    name: str,
    shift: int = 0,
) -> None:
    image = paint.background(rng, HEIGHT, WIDTH)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    zoom = camera.scale * rng.uniform(0.92, 1.08)
    h, w = int(person.height * zoom), int(person.width * zoom)
    alpha = stroke(person.digit, h, w, camera.tilt + float(rng.uniform(-4, 4)))
    rows = (np.arange(h) < h * 0.5)[:, None, None]
    tint: Any = np.where(rows, person.upper, person.lower) * np.ones((h, w, 1), np.float32)
    top = (HEIGHT - h) // 2 + int(rng.integers(-6, 7)) + shift
    left = (WIDTH - w) // 2 + int(rng.integers(-4, 5)) + shift // 2
    put(image, mask, alpha, top, left, tint)
    image = image * camera.gain.astype(np.float32)
    if camera.blur > 0.3:
        image = blurred(image, camera.blur)
    write(image, mask, root / folder / f"{name}.jpg", root / "masks" / folder / f"{name}.png")
