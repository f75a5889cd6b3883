"""Updates of the weights: groups of batches, and what several processes evaluate."""

import pytest
import torch
from torch import nn

from engine.config import OptimConfig, TrainingConfig
from engine.setup import build_accelerator, build_engine


@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_a_smaller_last_group_is_averaged_over_its_own_size(clip):
    """Five batches in groups of three: the second update is the mean of two gradients, not two thirds of it."""
    optim = OptimConfig(lr=1.0, momentum=0.0, weight_decay=0.0, name="momentum", clip_grad=clip)
    config = TrainingConfig(device="cpu", accumulate=3, epochs=1, optim=optim)
    net = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.zero_()
    engine = build_engine(config, build_accelerator(config), net, batches_per_epoch=5)
    slopes, rates = [1.0, 2.0, 6.0, 4.0, 10.0], []
    for index, slope in enumerate(slopes):
        size = {2: 3, 4: 2}.get(index, 0)
        before = engine.bare.weight.item()
        rates.append(engine.lr)
        engine.update(engine.model(torch.full((1, 1), slope)).sum(), count=index // 3, size=size)
        step = before - engine.bare.weight.item()
        mean = {2: 3.0, 4: 7.0}.get(index, 0.0)
        assert step == pytest.approx(rates[index] * (min(mean, clip) if clip else mean), rel=1e-4)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("decays", [False, True])
def test_norms_and_biases_decay_only_on_request(own, decays):
    config = TrainingConfig(device="cpu", optim=OptimConfig(weight_decay=0.1, decay_norm_bias=decays))
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    parameters = list(net.parameters()) if own else None
    engine = build_engine(config, build_accelerator(config), net, 1, own_parameters=parameters)
    groups = engine.optimizers[0].param_groups
    by_size = {p.numel(): group["weight_decay"] for group in groups for p in group["params"] if p.ndim > 1}
    assert by_size == {12: 0.1}
    assert {group["weight_decay"] for group in groups for p in group["params"] if p.ndim == 1} == {0.1 * decays}
