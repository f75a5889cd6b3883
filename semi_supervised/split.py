"""Which images keep their labels: balanced, seeded, frozen by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from keepcore.run.errors import UserError
from keepcore.run.seed import generator


def labelled_subset(labels: Sequence[int], count: int, seed: int) -> list[int]:
    """Choose the labelled images, the same number of each class.

    Args:
        labels: int labels of the whole training set.
        count: how many images keep their label.
        seed: of the split.

    Returns:
        Sorted indices.

    Raises:
        UserError: count is not a positive multiple of the number of classes, or a class has too few images.

    Source: the balanced splits of USB and TorchSSL.
    """
    classes = sorted(set(labels))
    if count < len(classes) or count % len(classes):
        raise UserError(f"data.labels: {count} labels do not divide among {len(classes)} classes")
    each, chosen = count // len(classes), []
    draws = generator(seed, "split", count)
    for label in classes:
        members = [index for index, other in enumerate(labels) if other == label]
        if len(members) < each:
            raise UserError(f"data.labels: class {label} has {len(members)} images, {each} are asked for")
        order = torch.randperm(len(members), generator=draws)[:each].tolist()
        chosen += [members[i] for i in order]
    return sorted(chosen)


def fingerprint(indices: Sequence[int]) -> str:
    """Give a split's hash, to tell whether two runs used the same one.

    Source: elementary.
    """
    return hashlib.sha256(",".join(map(str, indices)).encode()).hexdigest()[:16]


def endless(count: int, batch_size: int, steps: int, seed: int, purpose: str, rank: int, processes: int) -> "Plan":
    """Plan epochs of a fixed number of steps over reshuffled passes through the set.

    Args:
        count: samples.
        batch_size: per step, over all processes.
        steps: per epoch.
        seed: of the run.
        purpose: tells this stream's randomness from others'.
        rank: of this process.
        processes: how many share each batch.

    Returns:
        The plan. A set smaller than a batch is repeated within it.

    Raises:
        UserError: an empty set, or a batch that does not divide among the processes.

    Source: elementary.
    """
    if count < 1 or batch_size < 1:
        raise UserError(f"batches of {batch_size} images from a set of {count}: both must be positive")
    if batch_size % processes:
        raise UserError(f"the batch of {batch_size} images does not divide among {processes} processes")
    return Plan(count, batch_size, steps, seed, purpose, rank, processes)


class Plan:
    """A :data:`keepcore.run.loader.BatchPlan` that reads on where the last epoch ended."""

    def __init__(
        self, count: int, batch_size: int, steps: int, seed: int, purpose: str, rank: int, processes: int
    ) -> None:
        self.count, self.batch_size, self.steps, self.seed = count, batch_size, steps, seed
        self.purpose, self.rank, self.processes = purpose, rank, processes

    def __call__(self, epoch: int) -> list[list[int]]:
        """Return this process's batches of one epoch."""
        start, end = epoch * self.steps * self.batch_size, (epoch + 1) * self.steps * self.batch_size
        indices: list[int] = []
        for turn in range(start // self.count, -(-end // self.count)):
            order = torch.randperm(self.count, generator=generator(self.seed, self.purpose, turn)).tolist()
            base = turn * self.count
            indices += order[max(start - base, 0) : end - base]
        share = self.batch_size // self.processes
        first = self.rank * share
        return [
            indices[step * self.batch_size + first : step * self.batch_size + first + share]
            for step in range(self.steps)
        ]
