"""The choice of labelled images: balanced, seeded and identified by a hash."""

import hashlib
import json
import zipfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.errors import UserError, one_line
from engine.seed import generator

UNREADABLE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    MemoryError,
    OSError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
)


def labelled_subset(labels: Sequence[int], count: int, seed: int) -> list[int]:
    """Choose the labelled images, with the same number for each class.

    Args:
        labels: integer labels of the whole training set.
        count: number of labelled images.
        seed: seed of the split.

    Returns:
        Sorted indices.

    Raises:
        UserError: count is not a positive multiple of the number of classes, or a class has too few images.

    Source: the balanced splits of USB and TorchSSL.
    """
    classes = sorted(set(labels))
    if count < len(classes) or count % len(classes):
        raise UserError(f"data.labels must be a positive multiple of the {len(classes)} classes, got {count}")
    share, indices = count // len(classes), []
    draws = generator(seed, "split", count)
    for label in classes:
        members = [index for index, other in enumerate(labels) if other == label]
        if len(members) < share:
            raise UserError(f"data.labels: class {label} has {len(members)} images, but {share} are needed")
        order = torch.randperm(len(members), generator=draws)[:share].tolist()
        indices += [members[i] for i in order]
    return sorted(indices)


def read_indices(path: Path, labels: Sequence[int]) -> list[int]:
    """Read the indices of the labelled training images.

    Args:
        path: .txt (numbers separated by blanks or commas), .json (a list) or .npy.
        labels: integer labels of the whole training set.

    Returns:
        Sorted indices.

    Raises:
        UserError: the file is missing or damaged, a number is not an integer, an index is duplicate or outside
            the set, or a class has no labelled image.

    Source: the index files of TorchSSL and USB.
    """
    if not path.is_file():
        raise UserError(f"data.label_file: {path} not found")
    try:
        values = _numbers(path)
        indices = sorted(int(value) for value in values)
        whole = all(float(value).is_integer() for value in values)
    except UNREADABLE as error:
        raise UserError(f"data.label_file: {path} must contain a list of indices: {one_line(error)}") from error
    if not indices or not whole:
        raise UserError(f"data.label_file: {path} must contain at least one index, and only integers")
    if indices[0] < 0 or indices[-1] >= len(labels):
        wrong = indices[0] if indices[0] < 0 else indices[-1]
        raise UserError(f"data.label_file: {path}: index {wrong} is outside the {len(labels)} training images")
    double = next((a for a, b in pairwise(indices) if a == b), None)
    if double is not None:
        raise UserError(f"data.label_file: {path}: index {double} is a duplicate")
    absent = sorted(set(labels) - {labels[index] for index in indices})
    if absent:
        raise UserError(f"data.label_file: {path}: class {absent[0]} has no labelled image")
    return indices


def _numbers(path: Path) -> list[Any]:
    kind = path.suffix.lower()
    if kind == ".npy":
        array = np.load(path, allow_pickle=False)
        if array.dtype.kind not in "iuf":
            raise TypeError(f"the array has dtype {array.dtype}")
        values: list[Any] = array.ravel().tolist()
        return values
    if kind == ".json":
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(content, list) or not all(type(value) in (int, float) for value in content):
            raise TypeError("the JSON value is not a list of numbers")
        return content
    return [float(word) for word in path.read_text(encoding="utf-8-sig").replace(",", " ").split()]


def fingerprint(indices: Sequence[int]) -> str:
    """Return a hash of a split, to check whether two runs used the same one."""
    return hashlib.sha256(",".join(map(str, indices)).encode()).hexdigest()[:16]


class Endless:
    """A :data:`engine.loader.BatchPlan` with a fixed number of steps over reshuffled passes through a set.

    It yields numbers whose remainder modulo ``count`` is the sample and whose quotient is the pass, so that a
    repeated sample has a new number and thus a new crop. Each epoch continues where the previous one ended.

    Args:
        count: number of samples.
        batch_size: images per step across all processes.
        steps: steps per epoch.
        seed: seed of the run.
        purpose: name that separates this stream's random numbers from those of other streams.
        rank: rank of this process.
        processes: number of processes that share each batch.

    Raises:
        UserError: the set or the steps are empty, or the batch size is not a multiple of the processes.
    """

    def __init__(
        self, count: int, batch_size: int, steps: int, seed: int, purpose: str, rank: int = 0, processes: int = 1
    ) -> None:
        if count < 1 or batch_size < 1 or steps < 1:
            raise UserError(
                f"data: {purpose}: steps {steps}, batch size {batch_size} and images {count} must all be positive"
            )
        if batch_size % processes:
            raise UserError(f"data.{purpose}_batch {batch_size} is not divisible by the {processes} processes")
        self.count, self.batch_size, self.steps, self.seed = count, batch_size, steps, seed
        self.purpose, self.rank, self.processes = purpose, rank, processes

    def __call__(self, epoch: int) -> list[list[int]]:
        """Return this process's batches of one epoch."""
        start, end = epoch * self.steps * self.batch_size, (epoch + 1) * self.steps * self.batch_size
        numbers: list[int] = []
        for turn in range(start // self.count, -(-end // self.count)):
            order = torch.randperm(self.count, generator=generator(self.seed, self.purpose, turn))
            base = turn * self.count
            numbers += (order[max(start - base, 0) : end - base] + base).tolist()
        share = self.batch_size // self.processes
        firsts = range(self.rank * share, self.steps * self.batch_size, self.batch_size)
        return [numbers[first : first + share] for first in firsts]
