"""Image files, decoded completely or refused by name."""

import struct
from pathlib import Path

import numpy as np
from PIL import Image

from engine.errors import UserError, one_line


def read_rgb(path: str | Path) -> Image.Image:
    """Decode an image file completely.

    Args:
        path: any format Pillow reads.

    Returns:
        An RGB image. Transparency is dropped; an EXIF orientation is not applied, as torchvision's and timm's
        readers do not.

    Raises:
        UserError: missing, damaged or truncated; names the file.
    """
    try:
        with Image.open(path) as image:
            return _to_rgb(image)
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise UserError(f"cannot read the image {path}: {one_line(error)}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert; 16-bit grey is scaled to 8 bits, where Pillow would clip it to white."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image, np.float64) / 257).clip(0, 255).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")
