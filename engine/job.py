"""The interface between a task and the training loop: batches, training step and evaluation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn


class StepResult(NamedTuple):
    """What a training step returns.

    Attributes:
        loss: scalar with a graph.
        logs: detached scalars on the device, averaged over the epoch; NaN entries are not counted.
        images: number of images in the step, in this process.
    """

    loss: Tensor
    logs: dict[str, Tensor]
    images: int


class Loader(Protocol):
    """Batches of one epoch; the same epoch number always gives the same batches."""

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the epoch and how many of its first batches to skip."""
        ...

    def __len__(self) -> int:
        """Return the number of batches of this process."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Yield batches."""
        ...


@dataclass
class Progress:
    """Completed share of the planned training, in [0, 1]; set by the loop and read by schedules."""

    share: float = 0.0

    def __call__(self) -> float:
        """Return the share."""
        return self.share


@dataclass(frozen=True)
class Job:
    """A task in the form that the training loop needs.

    Attributes:
        loader: training batches.
        step: batch on the device -> StepResult.
        evaluate: module -> metrics in percent or plain numbers.
        headline: the metric that decides which checkpoint is best (higher is better).
        export: training module -> the network to save under ``state_dict``.
        meta: plain values saved with the weights: arch, classes, normalisation.
        progress: updated before every step.
        tensors: further tensors of the run's state, changed in place by the step; saved and restored with it.
    """

    loader: Loader
    step: Callable[[Any], StepResult]
    evaluate: Callable[[nn.Module], dict[str, float]]
    headline: str
    export: Callable[[nn.Module], nn.Module]
    meta: dict[str, Any]
    progress: Progress = field(default_factory=Progress)
    tensors: dict[str, Tensor] = field(default_factory=dict)
