"""The training loop of all tasks: epochs of steps, evaluation, checkpoints, exact resuming."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from keepcore.run import checkpoint
from keepcore.run.config import Run
from keepcore.run.engine import Engine
from keepcore.run.errors import UserError
from keepcore.run.folder import RunFolder, provenance
from keepcore.run.images import on_device
from keepcore.run.progress import Line, Meter
from keepcore.run.seed import random_state, restore_random_state


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

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""
        ...

    def __len__(self) -> int:
        """Count the batches of this process."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Yield batches."""
        ...


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
    """

    loader: Loader
    step: Callable[[Any], StepResult]
    evaluate: Callable[[nn.Module], dict[str, float]]
    headline: str
    export: Callable[[nn.Module], nn.Module]
    meta: dict[str, Any]


@dataclass
class Position:
    """Where the run stands: epochs finished, updates and steps taken, best headline so far."""

    epoch: int = 0
    updates: int = 0
    steps: int = 0
    best: float = -math.inf


def fit(engine: Engine, job: Job, config: Run, folder: RunFolder) -> dict[str, Any]:
    """Train.

    Args:
        engine: model and optimizers.
        job: what to do in a step and in an evaluation.
        config: of the run.
        folder: opened by the caller.

    Returns:
        The last row of metrics.jsonl.

    Raises:
        UserError: the loss is not finite (the last good checkpoint is kept), or a checkpoint does not fit.

    Source: the loops of timm's train.py and pycls, read for what users expect.
    """
    position = _resume(engine, folder) if config.resume else Position()
    total = len(job.loader) * config.epochs
    total = min(total, config.max_steps) if config.max_steps else total
    row: dict[str, Any] = folder.rows()[-1] if config.resume and folder.rows() else {}
    main = engine.accelerator.is_main_process
    with Line(total, position.steps, shows=main) as line:
        line.say(f"{total - position.steps} steps, {config.epochs} epochs -> {folder.path}")
        while position.epoch < config.epochs and position.steps < total:
            row = _epoch(engine, job, config, position, line, total)
            last = position.epoch == config.epochs or position.steps >= total
            if last or position.epoch % config.eval_every == 0:
                with torch.no_grad():
                    row |= job.evaluate(engine.evaluated)
            row["learning_rate"] = engine.lr
            folder.log(row, position.steps)
            _save(engine, job, row, position, folder)
            line.say(_describe(row))
    engine.accelerator.wait_for_everyone()
    return row


def _epoch(engine: Engine, job: Job, config: Run, position: Position, line: Line, total: int) -> dict[str, Any]:
    """Run one epoch and return its averages."""
    engine.model.train()
    engine.start_epoch(position.epoch)
    job.loader.set_epoch(position.epoch)
    meter, means = Meter(), Means()
    for batch in meter.timed(on_device(job.loader, engine.accelerator.device)):
        with engine.accelerator.accumulate(engine.model):
            with engine.accelerator.autocast():
                result = job.step(batch)
            position.updates += engine.update(result.loss, position.updates)
        means.add({"loss": result.loss.detach(), **result.logs})
        meter.images += result.images
        position.steps += 1
        text = None
        if position.steps % config.log_every == 0:
            text = _look(means, meter, engine, position)
        line.step(text)
        if position.steps >= total:
            break
    _look(means, meter, engine, position)
    position.epoch += 1
    averages = engine.accelerator.reduce(means.tensor(), reduction="mean").tolist()
    return {
        "epoch": position.epoch,
        "step": position.steps,
        **dict(zip(means.names, averages, strict=True)),
        "images_per_second": meter.images_per_second * engine.accelerator.num_processes,
        "data_wait_share": meter.wait_share,
        "seconds": meter.seconds,
    }


class Means:
    """Running means on the device; NaN entries are not counted. Never waits for the device by itself.

    Source: elementary.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor] = {}

    @property
    def names(self) -> list[str]:
        """Names in the order of first appearance."""
        return list(self.sums)

    def add(self, values: dict[str, Tensor]) -> None:
        """Add one step's scalars. The loss counts even when it is NaN: that has to show."""
        for name, value in values.items():
            value = value.detach().float()
            there = torch.ones_like(value) if name == "loss" else (~value.isnan()).float()
            kept = value if name == "loss" else value.nan_to_num(0.0)
            self.sums[name] = self.sums.get(name, 0.0) + kept
            self.counts[name] = self.counts.get(name, 0.0) + there

    def tensor(self) -> Tensor:
        """Return all means, in the order of ``names``; NaN where nothing was counted."""
        return torch.stack([self.sums[name] / self.counts[name] for name in self.sums])


def _look(means: Means, meter: Meter, engine: Engine, position: Position) -> str:
    """Wait for the device once: check the loss and describe the epoch so far."""
    loss = means.tensor()[0].item()
    if not math.isfinite(loss):
        raise UserError(
            f"the loss is {loss} near step {position.steps}: last.pth holds the last good epoch; "
            "lower --optim.lr, or clip with --optim.clip_grad"
        )
    rate = meter.images_per_second * engine.accelerator.num_processes
    return f"loss {loss:.3f}  lr {engine.lr:.2g}  {rate:.0f} images/s  {meter.wait_share:.0%} waiting for data"


def _describe(row: dict[str, Any]) -> str:
    hidden = ("epoch", "step", "seconds", "data_wait_share", "images_per_second")
    parts = [f"{name} {value:.4g}" for name, value in row.items() if name not in hidden and value is not None]
    speed = f"{row['images_per_second']:.0f} images/s, {row['data_wait_share']:.0%} waiting for data"
    return f"epoch {row['epoch']}: {'  '.join(parts)}  ({row['seconds']:.0f} s, {speed})"


def _save(engine: Engine, job: Job, row: dict[str, Any], position: Position, folder: RunFolder) -> None:
    """Write last.pth, and best.pth when the headline has risen."""
    better = job.headline in row and row[job.headline] > position.best
    if better:
        position.best = row[job.headline]
    state = random_state(engine.generators)
    states: Iterable[Any] = _gather(engine, state)
    if not engine.accelerator.is_main_process:
        return
    weights: dict[str, Any] = {
        **job.meta,
        "epoch": position.epoch,
        "metrics": json.dumps(row),
        "provenance": json.dumps(provenance()),
        "state_dict": job.export(engine.bare).state_dict(),
    }
    if engine.ema is not None:
        weights["state_dict_ema"] = job.export(engine.ema.module).state_dict()
    resume = {
        "model": engine.bare.state_dict(),
        "ema": None if engine.ema is None else engine.ema.module.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in engine.optimizers],
        "scaler": None if engine.accelerator.scaler is None else engine.accelerator.scaler.state_dict(),
        "random": list(states),
        "position": vars(position),
    }
    checkpoint.save({**weights, "resume": resume}, folder.last)
    if better:
        checkpoint.save(weights, folder.best)


def _gather(engine: Engine, state: dict[str, Any]) -> list[Any]:
    if engine.accelerator.num_processes == 1:
        return [state]
    states: list[Any] = [None] * engine.accelerator.num_processes
    torch.distributed.all_gather_object(states, state)
    return states


def _resume(engine: Engine, folder: RunFolder) -> Position:
    """Put everything back as it was after the last finished epoch."""
    content = checkpoint.load(folder.last)
    if "resume" not in content:
        raise UserError(f"{folder.last} holds weights only and cannot be resumed")
    saved = content["resume"]
    checkpoint.load_weights(engine.bare, saved["model"], folder.last)
    if engine.ema is not None:
        if saved["ema"] is None:
            raise UserError(f"{folder.last} has no averaged model: resume with --ema_decay 0")
        engine.ema.module.load_state_dict(saved["ema"])
    for optimizer, state in zip(engine.optimizers, saved["optimizers"], strict=True):
        optimizer.load_state_dict(state)
    if engine.accelerator.scaler is not None and saved["scaler"] is not None:
        engine.accelerator.scaler.load_state_dict(saved["scaler"])
    rank = min(engine.accelerator.process_index, len(saved["random"]) - 1)
    restore_random_state(saved["random"][rank], engine.generators)
    position = Position(**saved["position"])
    folder.drop_rows_after(position.epoch)
    return position
