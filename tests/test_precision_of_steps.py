"""Steps and losses of the tasks under bf16 autocast: only the network may change."""

import pytest
import torch

from reid.losses import batch_hard_triplet, centre_loss
from semi_supervised.losses import consistency_loss, entropy, pseudo_target, supervised_loss

BF16 = {"device_type": "cpu", "dtype": torch.bfloat16}
LABELS = torch.arange(4).repeat_interleave(4)


def triplet(x):
    return batch_hard_triplet(x, LABELS)


def centre(x):
    return centre_loss(x, LABELS, torch.linspace(-1, 1, 4 * 64).view(4, 64))


def supervised(x):
    return supervised_loss(x, LABELS, 0.9)


def soft(x):
    return consistency_loss(pseudo_target(x.flip(0), "soft", 0.4, 0.01), x)


def hard(x):
    return consistency_loss(pseudo_target(x.flip(0), "hard", 1.0, 0.01), x)


@pytest.mark.parametrize("loss", [triplet, centre, supervised, soft, hard, entropy])
def test_losses_and_their_gradients_do_not_change_under_autocast(loss):
    features = torch.randn(16, 64, generator=torch.Generator().manual_seed(0))
    results = []
    for cast in (False, True):
        x = features.clone().requires_grad_()
        with torch.autocast(**BF16, enabled=cast):
            value = loss(x)
        (gradient,) = torch.autograd.grad(value, x)
        results.append((value.detach(), gradient))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
