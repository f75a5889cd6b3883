"""Normalisation of uint8 images on their device."""

from collections.abc import Sequence

import torch
from torch import Tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Normalize:
    """Converts uint8 images B x C x H x W to normalised floats on their device, and back for display.

    Args:
        mean: mean per channel, of values in [0, 1].
        std: standard deviation per channel, of values in [0, 1].
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean_C11 = torch.tensor(mean).view(-1, 1, 1)
        self.std_C11 = torch.tensor(std).view(-1, 1, 1)

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Return float32 (x / 255 - mean) / std."""
        mean_C11, std_C11 = self._on(images_BCHW.device)
        return (images_BCHW.float() / 255.0 - mean_C11) / std_C11

    def undo(self, images_BCHW: Tensor) -> Tensor:
        """Return uint8 images for display."""
        mean_C11, std_C11 = self._on(images_BCHW.device)
        return ((images_BCHW.float() * std_C11 + mean_C11) * 255.0).round().clamp(0, 255).to(torch.uint8)

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if self.mean_C11.device != device:
            self.mean_C11 = self.mean_C11.to(device)
            self.std_C11 = self.std_C11.to(device)
        return self.mean_C11, self.std_C11
