"""What a task tells the training loop: its batches, its step, its evaluation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn


class StepResult(NamedTuple):
    """What a training step returns.

    Attributes:
        loss: scalar with a graph.
        logs: detached scalars on the device, averaged over the epoch (NaN: not counted).
        images: number of images the step saw in this process.
    """

    loss: Tensor
    logs: dict[str, Tensor]
    images: int


class Loader(Protocol):
    """Batches of one epoch, the same ones for the same epoch number."""

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the epoch, and how many of its batches to leave out."""
        ...

    def __len__(self) -> int:
        """Count the batches of this process."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Yield batches."""
        ...


@dataclass
class Progress:
    """Share of the planned training that is done, in [0, 1]: the loop writes it, schedules read it."""

    share: float = 0.0

    def __call__(self) -> float:
        """Return the share."""
        return self.share


@dataclass(frozen=True)
class Job:
    """A task in the terms of the loop.

    Attributes:
        loader: training batches.
        step: batch on the device -> StepResult.
        evaluate: module -> metrics in percent or plain numbers.
        headline: the metric that decides which checkpoint is best (higher is better).
        export: training module -> the network to save under ``state_dict``.
        meta: plain values saved with the weights: arch, classes, normalisation.
        progress: set before every step.
    """

    loader: Loader
    step: Callable[[Any], StepResult]
    evaluate: Callable[[nn.Module], dict[str, float]]
    headline: str
    export: Callable[[nn.Module], nn.Module]
    meta: dict[str, Any]
    progress: Progress = field(default_factory=Progress)
