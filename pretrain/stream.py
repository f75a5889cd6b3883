"""Training batches from streams (WebDataset shards, iterable Hugging Face data sets), read by timm."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from engine.errors import UserError
from engine.seed import derive
from pretrain.config import Config
from pretrain.data import in_workers, train_transform


class Streamed(IterableDataset[Any]):
    """A stream whose images are transformed; yields (views, label).

    Args:
        images: iterable over (PIL image, label).
        transform: image -> views.
    """

    def __init__(self, images: Any, transform: Callable[[Any], Any]) -> None:
        self.images, self.transform = images, transform

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        for image, label in self.images:
            yield self.transform(image), int(label)


class StreamLoader:
    """Batches of a stream, in the order of its reader.

    Resuming restores the order of the shards but not of the samples, so a resumed run is not exactly the same.

    Args:
        config: config of the run.
        images: timm's IterableImageDataset.
        device: device to train on.
        processes: number of processes that share each batch.

    Raises:
        UserError: the batch size is not a multiple of the number of processes, or exceeds the stream.

    Source: timm.data (readers).
    """

    def __init__(self, config: Config, images: Any, device: torch.device, processes: int) -> None:
        data = config.data
        if data.batch_size % processes:
            raise UserError(f"data.batch_size {data.batch_size} is not divisible by the {processes} processes")
        images.set_loader_cfg(num_workers=data.workers)
        self.images, self.seed, self.epoch, self.skip = images, config.seed, 0, 0
        share = data.batch_size // processes
        self.length = len(images) // share
        if self.length == 0:
            raise UserError(
                f"a batch of {share} images is larger than the stream of {len(images)}: lower data.batch_size"
            )
        self.loader = DataLoader(
            Streamed(images, train_transform(data, in_workers(config.policy))),
            batch_size=share,
            num_workers=data.workers,
            pin_memory=device.type == "cuda",
            drop_last=True,
            generator=torch.Generator(),
        )

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Set the epoch of the next pass and the number of batches to skip."""
        self.images.set_epoch(epoch)
        self.epoch, self.skip = epoch, skip

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        self.loader.generator.manual_seed(derive(self.seed, "stream", self.epoch))
        return islice(self.loader, self.skip, self.length)
