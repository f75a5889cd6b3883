"""Which images keep their labels: balanced, seeded, frozen by hash."""

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
        raise UserError(
            f"data.labels: {count} labels do not divide among {len(classes)} classes: give a multiple of it"
        )
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
    """Read which training images are labelled.

    Args:
        path: .txt (numbers between blanks or commas), .json (a list) or .npy.
        labels: of the whole training set.

    Returns:
        Sorted indices.

    Raises:
        UserError: missing or damaged file, no whole numbers, an index twice or outside the set, a class without a
            labelled image.

    Source: the index files of TorchSSL and USB.
    """
    if not path.is_file():
        raise UserError(f"data.label_file: {path} not found")
    try:
        values = _numbers(path)
        indices = sorted(int(value) for value in values)
        whole = all(float(value).is_integer() for value in values)
    except UNREADABLE as error:
        raise UserError(f"data.label_file: {path} does not hold a list of indices: {one_line(error)}") from error
    if not indices or not whole:
        raise UserError(f"data.label_file: {path} must hold whole numbers, at least one")
    if indices[0] < 0 or indices[-1] >= len(labels):
        wrong = indices[0] if indices[0] < 0 else indices[-1]
        raise UserError(f"data.label_file: {path}: index {wrong} is outside the {len(labels)} training images")
    double = next((a for a, b in pairwise(indices) if a == b), None)
    if double is not None:
        raise UserError(f"data.label_file: {path}: index {double} is there twice")
    absent = sorted(set(labels) - {labels[index] for index in indices})
    if absent:
        raise UserError(f"data.label_file: {path}: class {absent[0]} has no labelled image")
    return indices


def _numbers(path: Path) -> list[Any]:
    kind = path.suffix.lower()
    if kind == ".npy":
        array = np.load(path, allow_pickle=False)
        if array.dtype.kind not in "iuf":
            raise TypeError(f"it is an array of {array.dtype}, not of indices")
        values: list[Any] = array.ravel().tolist()
        return values
    if kind == ".json":
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        if not isinstance(content, list) or not all(type(value) in (int, float) for value in content):
            raise TypeError("it is not a list of numbers")
        return content
    return [float(word) for word in path.read_text(encoding="utf-8-sig").replace(",", " ").split()]


def fingerprint(indices: Sequence[int]) -> str:
    """Give a split's hash, to tell whether two runs used the same one."""
    return hashlib.sha256(",".join(map(str, indices)).encode()).hexdigest()[:16]


class Endless:
    """A :data:`engine.loader.BatchPlan` of a fixed number of steps over reshuffled passes through a set.

    It yields numbers whose remainder modulo ``count`` is the sample; the quotient is the pass, so that a sample
    that comes again has another number, and with it another crop. An epoch reads on where the last one ended.

    Args:
        count: samples.
        batch_size: per step, over all processes.
        steps: per epoch.
        seed: of the run.
        purpose: tells this stream's randomness from others'.
        rank: of this process.
        processes: how many share each batch.

    Raises:
        UserError: an empty set, no steps, or a batch that does not divide among the processes.
    """

    def __init__(
        self, count: int, batch_size: int, steps: int, seed: int, purpose: str, rank: int = 0, processes: int = 1
    ) -> None:
        if count < 1 or batch_size < 1 or steps < 1:
            raise UserError(
                f"data: {steps} steps of {batch_size} {purpose} images from a set of {count}: all must be positive"
            )
        if batch_size % processes:
            raise UserError(
                f"data: the batch of {batch_size} {purpose} images does not divide among {processes} processes"
            )
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
