"""WRN as published implementations build it; the expected logits were computed with their own code."""

from typing import NamedTuple

import pytest
import timm
import torch

import networks  # noqa: F401
from tests.references import closed_form_weights, wide_resnet_logits


class Published(NamedTuple):
    """What an implementation's own code gives for :func:`closed_form_weights` and :func:`waves`."""

    parameters: int
    logits_BK: list[list[float]]


PUBLISHED = {
    "uda": Published(  # google-research/uda 960684e on TensorFlow 2.15 (compat.v1)
        1_467_610,
        [
            [1.6804, -4.2131, 3.8984, -1.0138, -2.4319, 4.2361, -3.3681, 0.3905, 2.9031, -4.4056],
            [1.5384, -3.9138, 3.6365, -0.9596, -2.2431, 3.9271, -3.1399, 0.3916, 2.6735, -4.0968],
        ],
    ),
    "fixmatch": Published(  # google-research/fixmatch on TensorFlow 2.15 (compat.v1)
        1_469_642,
        [
            [2.8989, -5.4630, 4.5827, -0.7269, -3.7093, 5.7656, -3.9729, -0.4621, 4.5124, -5.5480],
            [2.7344, -5.1048, 4.2638, -0.6546, -3.4879, 5.3945, -3.6934, -0.4681, 4.2411, -5.1758],
        ],
    ),
    "usb": Published(  # Semi-supervised-learning 1ef4cbe; its 192 further parameters take no part in the output
        1_467_626 - 192,
        [
            [2.1031, -5.1343, 4.9152, -1.5733, -2.8619, 5.5278, -4.5521, 0.5116, 3.8421, -5.5878],
            [2.1624, -5.2649, 5.0322, -1.6006, -2.9422, 5.6634, -4.6548, 0.5147, 3.9407, -5.7239],
        ],
    ),
}


def waves(*shape):
    return torch.sin(0.37 * torch.arange(torch.Size(shape).numel(), dtype=torch.float64)).view(shape).float()


@pytest.mark.parametrize("variant", PUBLISHED)
def test_logits_equal_those_of_the_published_code(variant):
    model = closed_form_weights(timm.create_model("wrn_28_2", num_classes=10, variant=variant))
    expected = PUBLISHED[variant]
    assert sum(parameter.numel() for parameter in model.parameters()) == expected.parameters
    with torch.no_grad():
        torch.testing.assert_close(model(waves(2, 3, 32, 32)), torch.tensor(expected.logits_BK), atol=2e-4, rtol=0)


@pytest.mark.parametrize("variant", ["paper", *PUBLISHED])
@pytest.mark.parametrize("size", [(32, 32), (17, 20)])
def test_logits_equal_the_definition(variant, size):
    model = closed_form_weights(timm.create_model("wrn_10_1", num_classes=5, widen=2, variant=variant)).double()
    images = waves(2, 3, *size).double()
    with torch.no_grad():
        torch.testing.assert_close(model(images), wide_resnet_logits(model.state_dict(), images, variant))


@pytest.mark.parametrize(
    ("variant", "std", "momentum"), [("uda", 0.183, 0.1), ("usb", 0.118, 0.001), ("fixmatch", 0.118, 0.001)]
)
def test_first_weights_and_momentum_are_those_of_the_source(variant, std, momentum):
    torch.manual_seed(0)
    model = timm.create_model("wrn_28_2", num_classes=10, variant=variant)
    assert model.fc.weight.std().item() == pytest.approx(std, rel=0.05)  # 1 / sqrt(30), sqrt(2 / 138)
    assert not model.fc.bias.any()
    assert model.block2[0].conv1.weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.05)
    assert {m.momentum for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {momentum}
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("variant", ["paper", *PUBLISHED])
def test_every_parameter_takes_part_in_the_output(variant):
    """Distributed training fails for parameters without a gradient."""
    model = timm.create_model("wrn_10_1", num_classes=5, variant=variant)
    model(waves(2, 3, 16, 16)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_given_momentum_and_slope_replace_those_of_the_variant():
    model = timm.create_model("wrn_10_1", variant="usb", bn_momentum=0.2, slope=0.0)
    assert model.bn.momentum == model.block1[0].bn2.momentum == 0.2
    assert model.slope == model.block1[0].slope == 0.0
    with pytest.raises(ValueError, match="variant must be one of paper, uda, fixmatch, usb, got 'torchssl'"):
        timm.create_model("wrn_10_1", variant="torchssl")
