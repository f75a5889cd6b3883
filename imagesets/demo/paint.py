"""Digits, photographs, and how to paint one on the other. Images are float32 H x W x 3 in [0, 255]."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Array = NDArray[Any]


class Paint:
    """The source images: 1,797 digits of 8 x 8 px and two photographs of 427 x 640 px.

    Source: sklearn.datasets.load_digits, load_sample_images.
    """

    def __init__(self) -> None:
        from sklearn.datasets import load_digits, load_sample_images

        digits = load_digits()
        self.digits: Array = (digits.images * (255.0 / 16.0)).astype(np.uint8)
        self.labels: Array = digits.target.astype(np.int64)
        self.photos: list[Array] = list(load_sample_images().images)

    def pick(self, rng: np.random.Generator, digit: int, part: str) -> Array:
        """Choose a sample of a digit: the first 1,400 are for training, the rest for testing."""
        range_ = slice(0, 1400) if part.startswith("train") else slice(1400, None)
        picture: Array = self.digits[range_][rng.choice(np.flatnonzero(self.labels[range_] == digit))]
        return picture

    def background(self, rng: np.random.Generator, height: int, width: int) -> Array:
        """Crop a photograph at a random place and scale, and reduce its contrast."""
        photo = self.photos[rng.integers(len(self.photos))]
        zoom = rng.uniform(1.0, 2.5)
        h, w = min(int(height * zoom), photo.shape[0]), min(int(width * zoom), photo.shape[1])
        y, x = rng.integers(photo.shape[0] - h + 1), rng.integers(photo.shape[1] - w + 1)
        crop = Image.fromarray(photo[y : y + h, x : x + w]).resize((width, height), Image.Resampling.BILINEAR)
        image = np.asarray(crop, np.float32)
        dimmed: Array = image * np.float32(rng.uniform(0.3, 0.6)) + np.float32(rng.uniform(0, 20))
        return dimmed


def stroke(digit: Array, height: int, width: int, angle: float = 0.0) -> Array:
    """Enlarge a digit to an opacity mask: float32 height x width in [0, 1]."""
    image = Image.fromarray(digit).resize((width, height), Image.Resampling.BICUBIC)
    if angle:
        image = image.rotate(angle, Image.Resampling.BILINEAR)
    alpha = np.asarray(image, np.float32) / 255.0
    sharp: Array = np.clip((alpha - 0.25) * 2.5, 0.0, 1.0)
    return sharp


def colour(rng: np.random.Generator) -> Array:
    """Draw a saturated, bright colour: float32 (3,)."""
    rgb: Array = rng.uniform(0.0, 1.0, 3).astype(np.float32)
    rgb = (rgb - rgb.min()) / max(float(rgb.max() - rgb.min()), 1e-3)
    return rgb * 215.0 + 40.0


def put(image: Array, mask: Array, alpha: Array, top: int, left: int, tint: Array) -> Array:
    """Paint a stroke on an image and its mask, both changed in place; return the box that it covers.

    Args:
        image: float32 H x W x 3.
        mask: uint8 H x W, 255 on the object.
        alpha: opacity of the stroke; may extend beyond the border.
        top: row of its top edge.
        left: column of its left edge.
        tint: colour (3,), or one per pixel.

    Returns:
        int64 (y0, x0, y1, x1), half-open, of the visible stroke.
    """
    y0, x0 = max(top, 0), max(left, 0)
    y1, x1 = min(top + alpha.shape[0], image.shape[0]), min(left + alpha.shape[1], image.shape[1])
    part = alpha[y0 - top : y1 - top, x0 - left : x1 - left]
    tint = tint if tint.ndim == 1 else tint[y0 - top : y1 - top, x0 - left : x1 - left]
    window = image[y0:y1, x0:x1]
    window += part[..., None] * (tint - window)
    seen = part > 0.5
    mask[y0:y1, x0:x1][seen] = 255
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if not len(rows):
        return np.zeros(4, np.int64)
    return np.array([y0 + rows[0], x0 + columns[0], y0 + rows[-1] + 1, x0 + columns[-1] + 1])


def blurred(image: Array, radius: float) -> Array:
    """Blur an image.

    Source: Pillow.
    """
    picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(radius)), np.float32)


def write(image: Array, mask: Array, path: Path, mask_path: Path) -> None:
    """Save a JPEG and its object mask (PNG, 0 and 255).

    Source: Pillow.
    """
    Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(path, quality=92)
    Image.fromarray(mask).save(mask_path, compress_level=1)
