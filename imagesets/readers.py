"""Reads image files completely; errors name the file."""

import struct
from pathlib import Path

import numpy as np
from PIL import Image

from engine.errors import UserError, one_line


def read_rgb(path: str | Path) -> Image.Image:
    """Decode an image file completely.

    Args:
        path: file in any format that Pillow reads.

    Returns:
        An RGB image. Transparency is dropped; an EXIF orientation is not applied, as in torchvision's and timm's
        readers.

    Raises:
        UserError: the file is missing, damaged or truncated; the message names it.
    """
    try:
        with Image.open(path) as image:
            return _to_rgb(image)
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise UserError(f"cannot read the image {path}: {one_line(error)}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB; 16-bit grey is scaled to 8 bits, as Pillow alone would clip it to white."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image, np.float64) / 257).clip(0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")
