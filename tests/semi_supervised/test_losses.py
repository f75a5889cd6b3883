"""Losses against values computed by hand from the definitions."""

import math

import pytest
import torch

from semi_supervised.losses import consistency_loss, entropy, pseudo_target, supervised_loss, tsa_threshold


def test_tsa_has_the_official_schedule():
    """google-research/uda get_tsa_threshold at a tenth, half and all of the training."""
    official = {
        "linear": (0.19, 0.55, 1.0),
        "log": (0.45412241, 0.92612350, 0.99393585),
        "exp": (0.10999810, 0.17387650, 1.0),
    }
    for schedule, values in official.items():
        for progress, value in zip((0.1, 0.5, 1.0), values, strict=True):
            assert tsa_threshold(schedule, progress, 10) == pytest.approx(value, abs=1e-7), schedule
    assert tsa_threshold("none", 0.3, 10) == 1.0
    with pytest.raises(ValueError, match=r"loss\.tsa"):
        tsa_threshold("square", 0.5, 10)


def test_supervised_loss_counts_the_right_labels_probability():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    labels = torch.tensor([0, 0])  # p = .881 and .119
    low, high = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert supervised_loss(logits, labels).item() == pytest.approx((low + high) / 2)
    assert supervised_loss(logits, labels, 0.5).item() == pytest.approx(high)
    assert supervised_loss(logits, labels, 0.1).item() == 0.0


WEAK = [[2.0, 0.0], [0.1, 0.0]]  # confidence .881 and .525
STRONG = [[1.0, 0.0], [3.0, 0.0]]


def test_consistency_by_hand():
    weak, strong = torch.tensor(WEAK, requires_grad=True), torch.tensor(STRONG, requires_grad=True)
    target = pseudo_target(weak, "soft", temperature=0.4, threshold=0.8)
    loss = consistency_loss(target, strong)
    p = 1 / (1 + math.exp(-2 / 0.4))
    q = 1 / (1 + math.exp(-1.0))
    divergence = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert loss.item() == pytest.approx(divergence / 2, rel=1e-5)  # mean over ALL images
    assert target.counted_B.tolist() == [1.0, 0.0]
    loss.backward()
    assert weak.grad is None
    assert strong.grad[0].abs().sum() > 0
    assert strong.grad[1].abs().sum() == 0


def test_hard_targets_give_cross_entropy():
    target = pseudo_target(torch.tensor(WEAK), "hard", temperature=0.4, threshold=0.5)
    loss = consistency_loss(target, torch.tensor(STRONG))
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(-3))) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="soft or hard, got 'medium'"):
        pseudo_target(torch.tensor(WEAK), "medium", 1.0, 0.0)


def test_the_threshold_is_on_the_unsharpened_probability_and_strict():
    level = torch.tensor([[0.0, 0.0]])
    assert pseudo_target(level, "soft", 0.01, 0.5).counted_B.tolist() == [0.0]
    assert pseudo_target(level, "soft", 0.01, 0.49).counted_B.tolist() == [1.0]


def test_entropy():
    assert entropy(torch.zeros(3, 4)).item() == pytest.approx(math.log(4))
    assert entropy(torch.tensor([[50.0, 0.0]])).item() == pytest.approx(0.0, abs=1e-6)
