import pytest
import timm
import torch

import networks  # noqa: F401
from keepcore.early_head import with_early_head
from networks.shake import ShakeDrop, ShakeShake


def coefficients(module, *inputs):
    """Forward and backward factor of the first input, per image, seen with the other input at zero."""
    first = inputs[0].clone().requires_grad_()
    out = module(first, *inputs[1:])
    (gradient,) = torch.autograd.grad(out.sum(), first)
    return (out / first).detach(), gradient


def per_image(factor):
    assert torch.allclose(factor, factor[:, :1, :1, :1].expand_as(factor), atol=1e-5)
    return factor[:, 0, 0, 0]


def test_shake_shake_draws_forward_and_backward_weights_per_image():
    ones, zeros = torch.ones(4000, 2, 3, 3), torch.zeros(4000, 2, 3, 3)
    forward, backward = (per_image(f) for f in coefficients(ShakeShake().train(), ones, zeros))
    for factor in (forward, backward):
        assert 0 <= factor.min() < 0.01
        assert 0.99 < factor.max() <= 1
        assert factor.mean().item() == pytest.approx(0.5, abs=0.02)
        assert factor.var().item() == pytest.approx(1 / 12, abs=0.005)
    assert abs(torch.corrcoef(torch.stack([forward, backward]))[0, 1]) < 0.06


def test_shake_shake_weights_add_up_to_one():
    a, b = torch.ones(50, 1, 1, 1, requires_grad=True), torch.ones(50, 1, 1, 1, requires_grad=True)
    out = ShakeShake().train()(a, b)
    assert torch.allclose(out, torch.ones_like(out))
    gradients = torch.autograd.grad(out.sum(), (a, b))
    assert torch.allclose(sum(gradients), torch.ones_like(a))


def test_shake_drop_coefficients():
    forward, backward = (per_image(f) for f in coefficients(ShakeDrop(0.7).train(), torch.ones(6000, 2, 2, 2)))
    kept = (forward == 1) & (backward == 1)
    assert kept.float().mean().item() == pytest.approx(0.7, abs=0.02)
    alpha, beta = forward[~kept], backward[~kept]
    assert (alpha.min() < -0.99, alpha.max() > 0.99, beta.min() < 0.01, beta.max() > 0.99) == (True,) * 4
    assert alpha.min() >= -1
    assert beta.min() >= 0
    assert alpha.mean().item() == pytest.approx(0.0, abs=0.05)
    assert beta.mean().item() == pytest.approx(0.5, abs=0.03)


def test_evaluation_uses_the_means_both_ways():
    x = torch.randn(3, 2, 2, 2)
    for module, inputs, mean in ((ShakeDrop(0.7), (x,), 0.7), (ShakeShake(), (x, torch.zeros_like(x)), 0.5)):
        for factor in coefficients(module.eval(), *inputs):
            assert torch.allclose(factor, torch.full_like(x, mean))
    with pytest.raises(ValueError, match="keep"):
        ShakeDrop(1.5)


@pytest.mark.parametrize("name", ["shake_shake_26_2x32d", "pyramidnet_272_shakedrop", "wrn_10_1"])
def test_an_early_head_sees_what_the_next_stage_would_after_its_activation(name):
    """The first stages of these networks end without ReLU: the head brings its own."""
    options = {"depth": 11} if name.startswith("pyramid") else {}
    net = timm.create_model(name, num_classes=4, **options)
    head = with_early_head(net, 4, "", 32).train()
    seen = []
    head.activation.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    head(torch.randn(2, 3, 32, 32))
    assert seen[0][0].min() < 0
    assert seen[0][1].min() >= 0
