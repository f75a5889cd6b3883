"""The training loop of all tasks: epochs, evaluation, checkpoints and exact resuming."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch

from engine.config import TrainingConfig
from engine.errors import UserError
from engine.job import Job
from engine.loader import on_device
from engine.means import Means
from engine.progress import ProgressLine, Throughput
from engine.resume import TrainPosition, load_state, save_state
from engine.run_folder import RunFolder
from engine.setup import Engine
from engine.stop import StopSignal

T = TypeVar("T")


class Trainer:
    """A training run: its position and everything needed to continue it.

    Args:
        engine: model and optimizers.
        job: what to do in a step and in an evaluation.
        config: options of the run.
        folder: run folder, already opened by the caller.

    Raises:
        UserError: the checkpoint to resume from does not match the run or is past its planned end.

    Source: the loops of timm's train.py and pycls, consulted for what users expect.
    """

    def __init__(self, engine: Engine, job: Job, config: TrainingConfig, folder: RunFolder) -> None:
        self.engine, self.job, self.config, self.folder = engine, job, config, folder
        self.means, self.throughput = Means(), Throughput()
        self.position = load_state(engine, job, folder, self.means) if folder.resumes else TrainPosition()
        self.planned = len(job.loader) * config.epochs
        self.total = min(self.planned, config.max_steps) if config.max_steps else self.planned
        if self.position.steps > self.total:
            raise UserError(
                f"{folder.last} is at step {self.position.steps}, but the run ends at step {self.total}: "
                "raise --epochs"
            )

    def fit(self) -> dict[str, Any]:
        """Train to the end, or until a SIGTERM.

        Returns:
            The last row of metrics.jsonl; after a SIGTERM, the last one written before it.

        Raises:
            UserError: the loss is not finite; the last good checkpoint is kept.
        """
        rows = self.folder.rows() if self.folder.resumes else []
        row: dict[str, Any] = rows[-1] if rows else {}
        position, main = self.position, self.engine.accelerator.is_main_process
        with (
            ProgressLine(self.total, position.steps, shows=main) as line,
            StopSignal(self.engine.accelerator) as stop,
        ):
            line.say(
                f"{self.total - position.steps} steps, {self.config.epochs} epochs, output in {self.folder.path}"
            )
            while position.epoch < self.config.epochs and position.steps < self.total:
                averages = self._run_epoch(line, stop)
                if averages is None:
                    line.say(f"SIGTERM: saved after step {position.steps}; --resume continues from there")
                    return row
                row = self._finish_epoch(averages)
                line.say(_describe(row))
        self.engine.accelerator.wait_for_everyone()
        return row

    def _run_epoch(self, line: ProgressLine, stop: StopSignal) -> dict[str, Any] | None:
        """Train one epoch, or the rest of one; return its averages, or None after a SIGTERM."""
        engine, position = self.engine, self.position
        engine.model.train()
        engine.start_epoch(position.epoch)
        self.job.loader.set_epoch(position.epoch, position.batch)
        self.throughput, complete = Throughput(), True
        batches = on_device(self.job.loader, engine.accelerator.device)
        for batch, last in _mark_last(self.throughput.timed(batches)):
            updated = self._step(batch, last)
            self.folder.begin()
            looks = position.steps % self.config.log_every == 0
            line.step(self._look() if looks else None)
            if not last and updated and self._stops(stop, looks):
                return None
            if position.steps >= self.total:
                complete = last
                break
        if not self.means.names:
            raise UserError("the training set yielded no batches: lower --data.batch_size")
        self._look()
        number = position.epoch + 1
        if complete:
            position.epoch, position.batch = number, 0
        averages = engine.accelerator.reduce(self.means.tensor(), reduction="mean").tolist()
        return {
            "epoch": number,
            "step": position.steps,
            **dict(zip(self.means.names, averages, strict=True)),
            "images_per_second": self.throughput.images_per_second * engine.accelerator.num_processes,
            "data_wait_share": self.throughput.wait_share,
            "seconds": self.throughput.seconds,
        }

    def _step(self, batch: Any, last: bool) -> bool:
        """Take one step; return whether the weights changed."""
        engine, position = self.engine, self.position
        self.job.progress.share = min(1.0, position.steps / self.planned)
        updates = last or (position.batch + 1) % engine.accumulate == 0
        with engine.part(updates):
            result = self.job.step(batch)  # not under autocast: the prepared model has its own
            size = position.batch % engine.accumulate + 1
            engine.update(result.loss, position.updates, size if updates else 0)
        self.means.add({"loss": result.loss.detach(), **result.logs})
        self.throughput.images += result.images
        position.steps += 1
        position.batch += 1
        position.updates += updates
        return updates

    def _stops(self, stop: StopSignal, looks: bool) -> bool:
        """Save a checkpoint within the epoch if one is due; return whether to stop."""
        stops = stop.agreed(looks)
        every = self.config.save_every
        if stops or (every and self.position.steps % every == 0):
            self._look()
            save_state(self.engine, self.job, self.folder, self.position, self.means, None)
        return stops

    def _finish_epoch(self, row: dict[str, Any]) -> dict[str, Any]:
        """Evaluate if due, log and save; return the complete row."""
        position, config = self.position, self.config
        ends = position.epoch == config.epochs or position.steps >= self.total
        if ends or position.epoch % config.eval_every == 0:
            self.engine.share_buffers()
            with torch.no_grad():
                row |= self.job.evaluate(self.engine.evaluated)
        row["learning_rate"] = self.engine.lr
        self.folder.log(row, position.steps)
        if position.batch == 0:
            self.means = Means()
        save_state(self.engine, self.job, self.folder, position, self.means, row)
        return row

    def _look(self) -> str:
        """Synchronise with the device once to check the loss; return a summary of the epoch so far."""
        loss = self.means.tensor()[0].item()
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} near step {self.position.steps}: lower --optim.lr, or clip gradients with "
                "--optim.clip_grad; last.pth in the run folder, if any, holds the last good state"
            )
        rate = self.throughput.images_per_second * self.engine.accelerator.num_processes
        waiting = f"{self.throughput.wait_share:.0%} waiting for data"
        return f"loss {loss:.3f}  lr {self.engine.lr:.2g}  {rate:.0f} images/s  {waiting}"


def _mark_last(batches: Iterable[T]) -> Iterator[tuple[T, bool]]:
    """Yield each batch with a flag that marks the last one."""
    iterator = iter(batches)
    ahead = next(iterator, None)
    while ahead is not None:
        batch, ahead = ahead, next(iterator, None)
        yield batch, ahead is None


def _describe(row: dict[str, Any]) -> str:
    hidden = ("epoch", "step", "seconds", "data_wait_share", "images_per_second")
    parts = [f"{name} {value:.4g}" for name, value in row.items() if name not in hidden and value is not None]
    speed = f"{row['images_per_second']:.0f} images/s, {row['data_wait_share']:.0%} waiting for data"
    return f"epoch {row['epoch']}: {'  '.join(parts)}  ({row['seconds']:.0f} s, {speed})"
