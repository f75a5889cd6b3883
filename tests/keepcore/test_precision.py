"""Under autocast only the network runs in low precision: saliency of float16 networks, geometry, resizing."""

import pytest
import torch
from torch import nn

from keepcore import KeepCutout, at_scale, input_gradient
from keepcore.policy import RandAugment
from keepcore.policy.spaces import SPACES
from keepcore.precision import in_callers_autocast, without_autocast

BF16 = {"device_type": "cpu", "dtype": torch.bfloat16}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("side", [32, 64, 224])
def test_policies_are_the_same_under_autocast(space, side):
    images = torch.randint(256, (30, 3, side, side), dtype=torch.uint8)
    plain = RandAugment(2, 9, space=space)(images, generator=torch.Generator().manual_seed(1))
    with torch.autocast(**BF16):
        cast = RandAugment(2, 9, space=space)(images, generator=torch.Generator().manual_seed(1))
    assert torch.equal(plain, cast)


def test_the_network_runs_in_the_callers_autocast_and_nothing_else_does():
    seen = []

    def network(images):
        product = images.flatten(1) @ torch.ones(48, 5)
        seen.append(product.dtype)
        return product

    images, labels = torch.rand(2, 3, 4, 4), torch.tensor([0, 4])
    with torch.autocast(**BF16):
        in_step = at_scale(input_gradient, 2.0)(lambda x: network(x[..., ::2, ::2]), images, labels)
        assert in_step.dtype == torch.float32
    assert seen == [torch.bfloat16]
    at_scale(input_gradient, 2.0)(lambda x: network(x[..., ::2, ::2]), images, labels)
    assert seen[-1] == torch.float32


def test_the_low_resolution_copy_is_made_in_full_precision():
    copies, images = [], torch.randn(2, 3, 33, 33)

    def network(copy):
        copies.append(copy.detach().clone())
        return copy.mean((2, 3))

    at_scale(input_gradient, 0.5)(network, images, torch.tensor([0, 1]))
    with torch.autocast(**BF16):
        at_scale(input_gradient, 0.5)(network, images, torch.tensor([0, 1]))
    assert torch.equal(*copies)


def test_gradients_beyond_float16_do_not_flatten_the_map():
    """ResNet-110 has gradients of 4e6 at initialisation; float16 ends at 65504."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4))
    with torch.no_grad():
        net[1].weight.mul_(1e6)
    images, labels = torch.rand(3, 3, 8, 8), torch.tensor([0, 1, 2])
    want = input_gradient(net, images, labels)
    with torch.autocast("cpu", dtype=torch.float16):
        got = input_gradient(net, images, labels)
        kept = KeepCutout(4)(net, images, labels, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(got, want, rtol=0.02, atol=0.0)
    assert not kept.flat_B.any()


def test_an_operation_brings_its_own_autocast(tiny_net):
    seen = []
    tiny_net.fc.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    images, labels = torch.randn(2, 3, 8, 8), torch.tensor([0, 4])
    keep = KeepCutout(4)
    keep(tiny_net, images, labels)
    bf16 = type(keep)(**{**vars(keep), "autocast": lambda: torch.autocast(**BF16)})
    kept = bf16(tiny_net, images, labels)
    assert seen == [torch.float32, torch.bfloat16]
    assert kept.images_BCHW.dtype == kept.share_B.dtype == torch.float32


def test_helpers():
    with torch.autocast(**BF16):
        with without_autocast(torch.ones(1)):
            assert (torch.ones(1, 1) @ torch.ones(1, 1)).dtype == torch.float32
        network = in_callers_autocast(lambda x: x @ x, torch.ones(1))
    out = network(torch.full((1, 1), 1.0 + 2**-12))
    assert out.dtype == torch.float32
    assert out.item() == 1.0  # rounded by the network, then cast
