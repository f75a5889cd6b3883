"""The training loop of all tasks: epochs of steps, evaluation, checkpoints, exact resuming."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from engine.config import Run
from engine.errors import UserError
from engine.means import Means
from engine.progress import Line, Meter
from engine.resume import Position, load_state, save_state
from engine.run_folder import RunFolder
from engine.setup import Engine
from engine.stop import StopSignal
from imagesets.images import on_device

T = TypeVar("T")


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


def fit(engine: Engine, job: Job, config: Run, folder: RunFolder) -> dict[str, Any]:
    """Train.

    Args:
        engine: model and optimizers.
        job: what to do in a step and in an evaluation.
        config: of the run.
        folder: opened by the caller.

    Returns:
        The last row of metrics.jsonl; the one before a SIGTERM when that ended the run.

    Raises:
        UserError: the loss is not finite (the last good checkpoint is kept), or a checkpoint does not fit.

    Source: the loops of timm's train.py and pycls, read for what users expect.
    """
    means = Means()
    position = load_state(engine, folder, means) if folder.resumes else Position()
    rows = folder.rows() if folder.resumes else []
    row: dict[str, Any] = rows[-1] if rows else {}
    planned = len(job.loader) * config.epochs
    total = min(planned, config.max_steps) if config.max_steps else planned
    if position.steps > total:
        raise UserError(f"{folder.last} is at step {position.steps}, the run would end at {total}: raise --epochs")
    main = engine.accelerator.is_main_process
    with Line(total, position.steps, shows=main) as line, StopSignal(engine.accelerator) as stop:
        line.say(f"{total - position.steps} steps, {config.epochs} epochs -> {folder.path}")
        while position.epoch < config.epochs and position.steps < total:
            epoch = _Epoch(engine, job, config, position, means, line, stop, folder, planned, total)
            averages = epoch.run()
            if averages is None:
                line.say(f"SIGTERM: saved after step {position.steps}; --resume goes on from there")
                return row
            row = averages
            last = position.epoch == config.epochs or position.steps >= total
            if last or position.epoch % config.eval_every == 0:
                with torch.no_grad():
                    row |= job.evaluate(engine.evaluated)
            row["learning_rate"] = engine.lr
            folder.log(row, position.steps)
            if position.batch == 0:
                means = Means()
            save_state(engine, job, folder, position, means, row)
            line.say(_describe(row))
    engine.accelerator.wait_for_everyone()
    return row


@dataclass
class _Epoch:
    """One epoch, or the rest of one."""

    engine: Engine
    job: Job
    config: Run
    position: Position
    means: Means
    line: Line
    stop: StopSignal
    folder: RunFolder
    planned: int
    total: int

    def run(self) -> dict[str, Any] | None:
        """Train; return the epoch's averages, or None after a SIGTERM."""
        engine, position = self.engine, self.position
        engine.model.train()
        engine.start_epoch(position.epoch)
        self.job.loader.set_epoch(position.epoch, position.batch)
        meter, ended = Meter(), True
        batches = on_device(self.job.loader, engine.accelerator.device)
        for batch, last in _mark_last(meter.timed(batches)):
            updated = self._step(batch, last, meter)
            self.folder.begin()
            looks = position.steps % self.config.log_every == 0
            self.line.step(_look(self.means, meter, engine, position) if looks else None)
            if not last and updated and self._stops(meter, looks):
                return None
            if position.steps >= self.total:
                ended = last
                break
        if not self.means.names:
            raise UserError("the training set gave no batch: lower --data.batch_size")
        _look(self.means, meter, engine, position)
        number = position.epoch + 1
        if ended:
            position.epoch, position.batch = number, 0
        averages = engine.accelerator.reduce(self.means.tensor(), reduction="mean").tolist()
        return {
            "epoch": number,
            "step": position.steps,
            **dict(zip(self.means.names, averages, strict=True)),
            "images_per_second": meter.images_per_second * engine.accelerator.num_processes,
            "data_wait_share": meter.wait_share,
            "seconds": meter.seconds,
        }

    def _step(self, batch: Any, last: bool, meter: Meter) -> bool:
        """Take one step; return whether the weights changed."""
        engine, position = self.engine, self.position
        self.job.progress.share = min(1.0, position.steps / self.planned)
        updates = last or (position.batch + 1) % engine.accumulate == 0
        with engine.part(updates):
            with engine.accelerator.autocast():
                result = self.job.step(batch)
            engine.update(result.loss, position.updates, updates)
        self.means.add({"loss": result.loss.detach(), **result.logs})
        meter.images += result.images
        position.steps += 1
        position.batch += 1
        position.updates += updates
        return updates

    def _stops(self, meter: Meter, looks: bool) -> bool:
        """Save in the middle of the epoch where it is time to; return whether to stop."""
        stops = self.stop.agreed(looks)
        every = self.config.save_every
        if stops or (every and self.position.steps % every == 0):
            _look(self.means, meter, self.engine, self.position)
            save_state(self.engine, self.job, self.folder, self.position, self.means, None)
        return stops


def _mark_last(batches: Iterable[T]) -> Iterator[tuple[T, bool]]:
    """Tell with every batch whether it is the last one."""
    iterator = iter(batches)
    ahead = next(iterator, None)
    while ahead is not None:
        batch, ahead = ahead, next(iterator, None)
        yield batch, ahead is None


def _look(means: Means, meter: Meter, engine: Engine, position: Position) -> str:
    """Wait for the device once: check the loss and describe the epoch so far."""
    loss = means.tensor()[0].item()
    if not math.isfinite(loss):
        raise UserError(
            f"the loss is {loss} near step {position.steps}: lower --optim.lr, or clip with --optim.clip_grad; "
            "a last.pth in the run folder holds the last good state"
        )
    rate = meter.images_per_second * engine.accelerator.num_processes
    return f"loss {loss:.3f}  lr {engine.lr:.2g}  {rate:.0f} images/s  {meter.wait_share:.0%} waiting for data"


def _describe(row: dict[str, Any]) -> str:
    hidden = ("epoch", "step", "seconds", "data_wait_share", "images_per_second")
    parts = [f"{name} {value:.4g}" for name, value in row.items() if name not in hidden and value is not None]
    speed = f"{row['images_per_second']:.0f} images/s, {row['data_wait_share']:.0%} waiting for data"
    return f"epoch {row['epoch']}: {'  '.join(parts)}  ({row['seconds']:.0f} s, {speed})"
