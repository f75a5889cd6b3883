"""Training images kept on the device as uint8, with random crops and flips of whole batches."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from imagesets.crop import crop_flip


class CropDraws(NamedTuple):
    """The random crops and flips of one batch.

    Attributes:
        index_B: int64, which images to use.
        views: for each view of the batch, offsets_B2 (int64 top and left, pixels) and flips_B (bool).
    """

    index_B: Tensor
    views: Sequence[tuple[Tensor, Tensor]]


class ResidentLoader:
    """Batches of (views, labels_B), uint8, cropped on the device from images kept there.

    Args:
        padded_NCHW: uint8 images with their border, on the device.
        labels_N: int64 labels, on the device.
        size: (height, width) of the crops, pixels.
        batches: number of batches per epoch.
        draw: (epoch, skip) -> the crops of the epoch's batches after the skipped ones, on the CPU or the device.
        extras: crops -> further values of the batch, which then is (views, labels_B, extras).

    Source: the GPU loader of cifar10-airbench, for the idea.
    """

    def __init__(
        self,
        padded_NCHW: Tensor,
        labels_N: Tensor,
        size: tuple[int, int],
        batches: int,
        draw: Callable[[int, int], Iterator[CropDraws]],
        extras: Callable[[CropDraws], dict[str, Tensor]] | None = None,
    ) -> None:
        self.padded_NCHW, self.labels_N, self.size = padded_NCHW, labels_N, size
        self.batches, self.draw, self.extras, self.epoch, self.skip = batches, draw, extras, 0, 0

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the epoch of the next pass and how many of its first batches to skip."""
        self.epoch, self.skip = epoch, skip

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        device = self.labels_N.device
        for draws in self.draw(self.epoch, self.skip):
            index_B = draws.index_B.to(device, non_blocking=True)
            views = [
                crop_flip(
                    self.padded_NCHW,
                    index_B,
                    offsets_B2.to(device, non_blocking=True),
                    flips_B.to(device, non_blocking=True),
                    self.size,
                )
                for offsets_B2, flips_B in draws.views
            ]
            labels_B = self.labels_N[index_B]
            yield (views, labels_B) if self.extras is None else (views, labels_B, self.extras(draws))
