"""From uint8 batches of the workers to normalised floats on the device."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from engine.errors import UserError, one_line

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


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


class Normalize:
    """uint8 images B x C x H x W to normalised floats on their device, and back for pictures.

    Args:
        mean: per channel, of values in [0, 1].
        std: per channel, of values in [0, 1].
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean_C11 = torch.tensor(mean).view(-1, 1, 1)
        self.std_C11 = torch.tensor(std).view(-1, 1, 1)

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Return float32 (x / 255 - mean) / std."""
        mean_C11, std_C11 = self._on(images_BCHW.device)
        return (images_BCHW.float() / 255.0 - mean_C11) / std_C11

    def undo(self, images_BCHW: Tensor) -> Tensor:
        """Return uint8 images for pictures."""
        mean_C11, std_C11 = self._on(images_BCHW.device)
        return ((images_BCHW.float() * std_C11 + mean_C11) * 255.0).round().clamp(0, 255).to(torch.uint8)

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if self.mean_C11.device != device:
            self.mean_C11 = self.mean_C11.to(device)
            self.std_C11 = self.std_C11.to(device)
        return self.mean_C11, self.std_C11


def on_device(batches: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Move the tensors of each batch (a tensor, tuple, list or dict of them) without waiting."""
    for batch in batches:
        yield _move(batch, device)


def _move(batch: Any, device: torch.device) -> Any:
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, dict):
        return {key: _move(value, device) for key, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [_move(value, device) for value in batch]
    return batch
