"""Crops that say where they lie in their image, for saliency maps that are kept from one epoch to the next."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.tv_tensors import KeyPoints

from engine.loader import BatchPlan
from imagesets.resident import CropDraws


@dataclass(frozen=True)
class ViewsAndWindow:
    """A transform: image -> (views, window_4); the window is that of :class:`keepcore.MapCache`.

    Attributes:
        shared: crop and flip, a torchvision v2 transform of several inputs.
        policy: image -> image, or None for a single view.
        finish: last transform of each view.
        order: see :class:`keepcore.TwoViews`.
    """

    shared: Callable[..., Any]
    policy: Callable[[Any], Any] | None
    finish: Callable[[Any], Any]
    order: str = "after_crop"

    def __call__(self, image: Any) -> tuple[tuple[Any, ...], Tensor]:
        """Return the views and the window of their crop."""
        width, height = image.size
        corners = KeyPoints([[0.0, 0.0], [width, height]], canvas_size=(height, width), dtype=torch.float32)
        if self.policy is not None and self.order == "before_crop":
            clean, augmented, corners = self.shared(image, self.policy(image), corners)
            views = [clean, augmented]
        else:
            clean, corners = self.shared(image, corners)
            views = [clean] if self.policy is None else [clean, self.policy(clean)]
        window_4 = window_of(corners, (height, width), (clean.size[1], clean.size[0]))
        return tuple(self.finish(view) for view in views), window_4


def window_of(corners_22: Tensor, size: tuple[int, int], crop: tuple[int, int]) -> Tensor:
    """Compute the window of a crop from where two pixels of its image lie in it.

    Args:
        corners_22: float32 (x, y) in the crop of the pixels (0, 0) and (width, height) of the image, pixels.
        size: (height, width) of the image.
        crop: (height, width) of the crop.

    Returns:
        window_4, float32: ``(scale_y, offset_y, scale_x, offset_x)``, see :class:`keepcore.MapCache`.
    """
    values = []
    for axis in (1, 0):
        first, last = float(corners_22[0, axis]), float(corners_22[1, axis])
        length, side = size[1 - axis], crop[1 - axis]
        step = (last - first) / length  # pixels of the crop per pixel of the image
        values += [side / (step * length), ((-0.5 - first) / step + 0.5) / length]
    return torch.tensor(values)


def resident_windows(draws: CropDraws, padding: int, size: tuple[int, int]) -> Tensor:
    """Return the windows of crops that have the size of their images, which a border surrounds: window_B4.

    Args:
        draws: crops of one batch, a single view.
        padding: width of the border, pixels.
        size: (height, width) of images and crops, pixels.
    """
    ((offsets_B2, flips_B),) = draws.views
    offset_B2 = (offsets_B2 - padding) / torch.tensor(size, device=offsets_B2.device)
    sign_B = 1.0 - 2.0 * flips_B.float()
    one_B = torch.ones_like(sign_B)
    return torch.stack([one_B, offset_B2[:, 0], sign_B, offset_B2[:, 1] + flips_B.float()], 1)


class IndexedLoader:
    """A loader whose batches also say which images they hold, on the CPU, and in which epoch.

    Args:
        loader: yields (views, labels_B, extras).
        plan: its plan.
    """

    def __init__(self, loader: Any, plan: BatchPlan) -> None:
        self.loader, self.plan, self.epoch, self.skip = loader, plan, 0, 0

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the epoch of the next pass and how many of its first batches to skip."""
        self.epoch, self.skip = epoch, skip
        self.loader.set_epoch(epoch, skip)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        for indices, (views, labels_B, extras) in zip(
            self.plan(self.epoch)[self.skip :], self.loader, strict=True
        ):
            yield views, labels_B, {**extras, "index": CpuIndices(indices), "epoch": self.epoch}


class CpuIndices:
    """CpuIndices of a batch that stay on the CPU when the batch is moved to a device."""

    def __init__(self, indices: list[int]) -> None:
        self.cpu_B = torch.tensor(indices)
