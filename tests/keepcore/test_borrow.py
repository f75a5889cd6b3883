import copy

import pytest
import torch
from torch import nn

from keepcore import borrowed, input_gradient
from keepcore.borrow import unwrap


def snapshot(net):
    state = {k: v.clone() for k, v in net.state_dict().items()}
    return state, [m.training for m in net.modules()], [p.requires_grad for p in net.parameters()]


@pytest.mark.parametrize("bn", ["eval", "batch_nostats", "train"])
@pytest.mark.parametrize("crash", [False, True])
def test_everything_is_as_it_was(tiny_net, bn, crash):
    tiny_net.layer1[1].eval()  # a frozen BatchNorm inside a training network
    tiny_net.fc.weight.requires_grad_(False)
    tiny_net.fc.bias.grad = torch.ones(5)
    buffers = {name: id(buffer) for name, buffer in tiny_net.named_buffers()}
    before = snapshot(tiny_net)
    try:
        with borrowed(tiny_net, bn) as inner:
            input_gradient(inner, torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3]))
            torch.rand(3)
            if crash:
                raise KeyError
    except KeyError:
        assert crash
    after = snapshot(tiny_net)
    assert all(torch.equal(before[0][k], after[0][k]) for k in before[0])
    assert before[1:] == after[1:]
    assert {name: id(buffer) for name, buffer in tiny_net.named_buffers()} == buffers
    assert torch.equal(tiny_net.fc.bias.grad, torch.ones(5))
    assert all(p.grad is None for name, p in tiny_net.named_parameters() if name != "fc.bias")


def test_random_state_is_untouched(tiny_net):
    images = torch.randn(2, 3, 8, 8)
    for bn in ("eval", "batch_nostats", "train"):
        state = torch.get_rng_state()
        with borrowed(tiny_net, bn) as inner:
            inner(images)
            torch.rand(5)
        assert torch.equal(state, torch.get_rng_state())


def test_modes_use_the_statistics_they_promise(tiny_net):
    images = torch.randn(4, 3, 8, 8) * 3 + 1
    expected = {}
    net = copy.deepcopy(tiny_net)
    expected["eval"] = net.eval()(images)
    net = copy.deepcopy(tiny_net).eval()
    net.layer1[1].train()
    expected["batch_nostats"] = net(images)
    for bn, value in expected.items():
        with borrowed(tiny_net, bn) as inner:
            assert torch.equal(inner(images), value), bn
    with borrowed(tiny_net, "train") as inner:
        assert all(m.training for m in inner.modules())


def test_eval_mode_makes_saliency_independent_of_the_batch(tiny_net):
    images, labels = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    with borrowed(tiny_net) as inner:
        together = input_gradient(inner, images, labels)
        alone = input_gradient(inner, images[:1], labels[:1])
    torch.testing.assert_close(together[:1], alone, rtol=1e-5, atol=1e-7)
    with borrowed(tiny_net, "batch_nostats") as inner:
        assert not torch.allclose(
            input_gradient(inner, images, labels)[:1], input_gradient(inner, images[:1], labels[:1])
        )


def test_unwrap_looks_through_compile_and_dataparallel(tiny_net):
    assert unwrap(torch.compile(nn.DataParallel(tiny_net))) is tiny_net


def test_errors():
    with pytest.raises(ValueError, match="bn must be one of"), borrowed(nn.Linear(1, 1), "frozen"):
        pass

    class FullyShardedDataParallel(nn.Module):
        pass

    with pytest.raises(ValueError, match="FSDP"), borrowed(FullyShardedDataParallel()):
        pass
