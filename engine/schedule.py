"""Learning-rate schedules: timm's, and the slow cosine of semi-supervised learning."""

import math

import torch
from timm.scheduler import create_scheduler_v2
from timm.scheduler.scheduler import Scheduler

from engine.config import OptimConfig


class SevenSixteenths(Scheduler):
    """lr cos(7 pi t / 16 T), which ends at a fifth of the rate instead of 0, after a linear warm-up.

    Args:
        optimizer: optimizer whose learning rate is set.
        total: T, in updates or epochs.
        warmup: length of the linear warm-up, in the same unit.
        warmup_lr: learning rate at the very start of the warm-up.
        per_epoch: whether t counts epochs rather than updates.

    Source: google-research/uda image/main.py; Sohn et al., NeurIPS 2020, FixMatch.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, total: int, warmup: int, warmup_lr: float, *, per_epoch: bool
    ) -> None:
        super().__init__(optimizer, "lr", t_in_epochs=per_epoch)
        self.total, self.warmup, self.warmup_lr = total, warmup, warmup_lr

    def _get_lr(self, t: int) -> list[float]:
        if t < self.warmup:
            return [self.warmup_lr + (base - self.warmup_lr) * t / self.warmup for base in self.base_values]
        fraction = (t - self.warmup) / max(1, self.total - self.warmup)
        return [base * math.cos(7 * math.pi / 16 * min(fraction, 1.0)) for base in self.base_values]


def build_scheduler(
    optim: OptimConfig, epochs: int, optimizer: torch.optim.Optimizer, updates_per_epoch: int
) -> Scheduler:
    """Build the schedule of a config.

    Args:
        optim: schedule and its options.
        epochs: number of epochs of the run.
        optimizer: optimizer whose learning rate is set.
        updates_per_epoch: number of optimizer updates per epoch.

    Source: timm.
    """
    per_epoch = optim.per == "epoch"
    if optim.schedule == "cosine_7_16":
        unit = 1 if per_epoch else updates_per_epoch
        warmup = round(optim.warmup_epochs * unit)
        return SevenSixteenths(optimizer, epochs * unit, warmup, optim.warmup_lr, per_epoch=per_epoch)
    scheduler: Scheduler | None
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched=optim.schedule,
        num_epochs=epochs,
        # timm counts the current epoch, torch's MultiStepLR the complete ones
        decay_milestones=[milestone + per_epoch for milestone in optim.milestones],
        decay_rate=optim.gamma,
        min_lr=optim.min_lr,
        warmup_lr=optim.warmup_lr,
        warmup_epochs=optim.warmup_epochs,  # type: ignore[arg-type]
        step_on_epochs=per_epoch,
        updates_per_epoch=updates_per_epoch,
    )
    assert scheduler is not None
    return scheduler
