"""Batches that depend only on the seed and the epoch, not on the number of workers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from engine.errors import UserError
from engine.seed import derive, generator

BatchPlan = Callable[[int], list[list[int]]]
"""Epoch -> the batches of this process, as lists of sample indices."""


class Seeded(Dataset[Any]):
    """A dataset whose random transforms depend on (seed, epoch, index) alone.

    Args:
        dataset: map-style dataset whose transforms draw from torch's global generator.
        seed: seed of the run.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, index = key
        if get_worker_info() is not None:
            return self._draw(epoch, index)
        with torch.random.fork_rng(devices=[]):
            return self._draw(epoch, index)

    def _draw(self, epoch: int, index: int) -> Any:
        torch.default_generator.manual_seed(derive(self.seed, "sample", epoch, index))
        return self.dataset[index]


class _Plan:
    """A batch sampler that yields (epoch, index) pairs."""

    def __init__(self, plan: BatchPlan) -> None:
        self.plan, self.epoch, self.skip = plan, 0, 0

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in self.plan(self.epoch)[self.skip :]:
            yield [(self.epoch, index) for index in batch]

    def __len__(self) -> int:
        return len(self.plan(self.epoch))


class EpochLoader:
    """A DataLoader over a plan of batches.

    Args:
        dataset: map-style dataset.
        plan: epoch -> batches of indices of this process.
        seed: seed of the run.
        workers: number of data worker processes; 0 loads in this process.
        pin: whether batches are page-locked, for GPUs.

    Source: torch.utils.data.
    """

    def __init__(self, dataset: Any, plan: BatchPlan, seed: int, *, workers: int = 0, pin: bool = False) -> None:
        self.plan = _Plan(plan)
        self.length = len(self.plan)
        self.loader = DataLoader(
            Seeded(dataset, seed),
            batch_sampler=self.plan,
            num_workers=workers,
            pin_memory=pin,
            persistent_workers=workers > 0,
            generator=torch.Generator(),
        )

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the epoch of the next pass and how many of its first batches to skip."""
        self.plan.epoch, self.plan.skip = epoch, skip

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)


def shuffled(count: int, batch_size: int, seed: int, *, rank: int = 0, processes: int = 1) -> BatchPlan:
    """Plan epochs that visit every sample once, each in a new order, and drop the incomplete last batch.

    Args:
        count: number of samples in the set.
        batch_size: images per step across all processes.
        seed: seed of the run.
        rank: rank of this process.
        processes: number of processes that share each batch.

    Returns:
        The plan. Together, the processes get the same batches as a single process would.

    Raises:
        UserError: the batch is larger than the set, or not a multiple of the number of processes.
    """
    if not 0 < batch_size <= count:
        raise UserError(f"a batch of {batch_size} images is larger than the set of {count}: lower the batch size")
    if batch_size % processes:
        raise UserError(f"the batch of {batch_size} images cannot be split evenly among {processes} processes")

    def plan(epoch: int) -> list[list[int]]:
        order = torch.randperm(count, generator=generator(seed, "order", epoch)).tolist()
        starts = range(0, count - batch_size + 1, batch_size)
        share = batch_size // processes
        return [order[start + rank * share : start + (rank + 1) * share] for start in starts]

    return plan


def in_order(indices: Sequence[int], batch_size: int) -> BatchPlan:
    """Plan one pass in the given order, including an incomplete last batch, for evaluation."""
    batches = [list(indices[i : i + batch_size]) for i in range(0, len(indices), batch_size)]
    return lambda epoch: batches


def on_device(batches: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Move the tensors of each batch (a tensor, or a tuple, list or dict of them) asynchronously."""
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
