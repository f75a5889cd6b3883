"""The slow cosine of semi-supervised learning, and what the rows of a run say of it."""

import json
import math

import pytest
import torch

from engine.config import OptimConfig, TrainingConfig
from engine.errors import UserError, check_ranges
from engine.metrics_log import median_of_last
from engine.schedule import build_scheduler


def rates(optim, epochs, updates):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], optim.lr)
    scheduler = build_scheduler(optim, epochs, optimizer, updates)
    seen = []
    for count in range(epochs * updates + 1):
        scheduler.step(count // updates)
        scheduler.step_update(count)
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


def test_seven_sixteenths_of_a_cosine():
    """google-research/uda: 0.03 cos(7/8 pi/2 t): 0.03 at the start, 0.005853 at the end."""
    seen = rates(OptimConfig(lr=0.03, schedule="cosine_7_16"), 4, 5)
    assert seen[0] == 0.03
    assert seen[10] == pytest.approx(0.03 * math.cos(7 * math.pi / 32))
    assert seen[20] == pytest.approx(0.00585271, abs=1e-8)


def test_with_warm_up_and_per_epoch():
    seen = rates(OptimConfig(lr=0.4, schedule="cosine_7_16", warmup_epochs=1, warmup_lr=0.0), 3, 4)
    assert seen[:5] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    assert seen[12] == pytest.approx(0.4 * math.cos(7 * math.pi / 16))
    steady = rates(OptimConfig(lr=0.4, schedule="cosine_7_16", per="epoch"), 3, 4)
    assert len(set(steady[:4])) == 1
    assert steady[4] == pytest.approx(0.4 * math.cos(7 * math.pi / 48))


def test_median_of_the_last_evaluations(tmp_path):
    assert median_of_last(tmp_path) is None
    rows = [{"epoch": i, "top1": float(i)} if i % 2 else {"epoch": i} for i in range(60)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert median_of_last(tmp_path) == 40.0  # the odd numbers 21 to 59
    assert median_of_last(tmp_path, count=1) == 59.0


@pytest.mark.parametrize("value", [0, -3, float("nan")])
def test_numbers_out_of_range_are_told_by_their_options_name(value):
    with pytest.raises(UserError, match=r"optim\.lr must be at least 1, got"):
        check_ranges(OptimConfig(lr=value), "optim.", lr=(1, None))
    with pytest.raises(UserError, match=r"ema_decay must be in \[0\.5, 1\], got"):
        check_ranges(TrainingConfig(ema_decay=value), ema_decay=(0.5, 1))


@pytest.mark.parametrize("per", ["update", "epoch"])
def test_milestones_are_epochs_that_are_complete_as_in_torch(per):
    """Rate of the middle update of each epoch against torch's MultiStepLR."""
    optim = OptimConfig(lr=1.0, schedule="multistep", per=per, milestones=(2, 4), gamma=0.1)
    ours = [rates(optim, 6, 5)[epoch * 5 + 2] for epoch in range(6)]
    torchs, optimizer = [], torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 1.0)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4], 0.1)
    for _ in range(6):
        torchs.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert ours == pytest.approx(torchs)
