"""Saves and restores all that a run needs to resume bit for bit, after or within an epoch."""

import json
import math
from dataclasses import dataclass
from typing import Any

import torch

from engine import checkpoint
from engine.errors import UserError, one_line
from engine.job import Job
from engine.means import Means
from engine.run_folder import RunFolder, provenance
from engine.seed import random_state, restore_random_state
from engine.setup import Engine


@dataclass
class TrainPosition:
    """The position of a run.

    Attributes:
        epoch: number of finished epochs.
        batch: number of finished batches of the next epoch.
        updates: number of optimizer updates.
        steps: total number of batches.
        best: best headline metric so far.
    """

    epoch: int = 0
    batch: int = 0
    updates: int = 0
    steps: int = 0
    best: float = -math.inf


def save_state(
    engine: Engine, job: Job, folder: RunFolder, position: TrainPosition, means: Means, row: dict[str, Any] | None
) -> None:
    """Write last.pth, preceded by best.pth if the headline metric has improved.

    Args:
        engine: model and optimizers.
        job: task that defines what is exported.
        folder: run folder.
        position: position of the run, updated with the new best.
        means: averages of the unfinished epoch.
        row: metrics of the epoch just finished; None within an epoch.

    Raises:
        UserError: a file cannot be written; the older one is unchanged.
    """
    better = row is not None and job.headline in row and row[job.headline] > position.best
    if better and row is not None:
        position.best = row[job.headline]
    ranks = _gather(engine, {**random_state(engine.generators), "means": means.state()})
    if not engine.accelerator.is_main_process:
        return
    rows = folder.rows()
    weights: dict[str, Any] = {
        **job.meta,
        "epoch": position.epoch,
        "metrics": json.dumps(row or (rows[-1] if rows else {})),
        "provenance": json.dumps(provenance()),
        "state_dict": job.export(engine.bare).state_dict(),
    }
    if engine.ema is not None:
        weights["state_dict_ema"] = job.export(engine.ema.module).state_dict()
    if better:
        checkpoint.save(weights, folder.best)
    resume = {
        "model": engine.bare.state_dict(),
        "ema": None if engine.ema is None else engine.ema.module.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in engine.optimizers],
        "scaler": None if engine.accelerator.scaler is None else engine.accelerator.scaler.state_dict(),
        "ranks": ranks,
        "tensors": job.tensors,
        "position": vars(position),
    }
    checkpoint.save({**weights, "resume": resume}, folder.last)


def load_state(engine: Engine, job: Job, folder: RunFolder, means: Means) -> TrainPosition:
    """Restore everything that :func:`save_state` saved.

    Raises:
        UserError: the checkpoint holds weights only, or has a different architecture or optimizer.
    """
    content = checkpoint.load(folder.last)
    if "resume" not in content:
        raise UserError(f"{folder.last} holds weights only and cannot be resumed")
    saved = content["resume"]
    kinds = {"model": dict, "optimizers": list, "ranks": list, "position": dict}
    checkpoint.expect(saved if isinstance(saved, dict) else {}, folder.last, "a training command", **kinds)
    checkpoint.load_weights(engine.bare, saved["model"], folder.last)
    if engine.ema is not None:
        if saved["ema"] is None:
            raise UserError(f"{folder.last} has no averaged model: resume with --ema_decay 0")
        engine.ema.module.load_state_dict(saved["ema"])
    try:
        for optimizer, state in zip(engine.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
    except (ValueError, LookupError) as error:
        raise UserError(f"{folder.last} was written with a different optimizer: {one_line(error)}") from error
    if engine.accelerator.scaler is not None and saved["scaler"] is not None:
        engine.accelerator.scaler.load_state_dict(saved["scaler"])
    _restore_tensors(job, saved.get("tensors", {}), folder)
    rank = engine.accelerator.process_index
    if rank < len(saved["ranks"]):  # with more processes than before, the new ones keep their own seeds
        restore_random_state(saved["ranks"][rank], engine.generators)
        means.restore(saved["ranks"][rank]["means"], engine.accelerator.device)
    position = TrainPosition(**saved["position"])
    folder.keep_until(position.epoch)
    return position


def _restore_tensors(job: Job, saved: dict[str, torch.Tensor], folder: RunFolder) -> None:
    """Copy the further tensors of the run's state."""
    shapes = [{name: tuple(value.shape) for name, value in tensors.items()} for tensors in (saved, job.tensors)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"{folder.last} was written with other options: it holds the tensors {shapes[0]}, and this run needs "
            f"{shapes[1]}; resume with the options that the run was started with"
        )
    for name, tensor in job.tensors.items():
        tensor.copy_(saved[name])


def _gather(engine: Engine, state: dict[str, Any]) -> list[Any]:
    if engine.accelerator.num_processes == 1:
        return [state]
    states: list[Any] = [None] * engine.accelerator.num_processes
    torch.distributed.all_gather_object(states, state)
    return states
