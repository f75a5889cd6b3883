import pytest
import timm
import torch

import networks  # noqa: F401

PARAMETERS = {
    "cifar_resnet18": 11_173_962,
    "cifar_resnet110": 1_727_962,
    "wrn_28_2": 1_467_610,
    "wrn_28_10": 36_479_194,
    "shake_shake_26_2x32d": 2_923_162,
    "shake_shake_26_2x96d": 26_192_922,
    "pyramidnet_272_shakedrop": 26_210_842,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_published_parameter_counts_and_half_size_input(name):
    model = timm.create_model(name, num_classes=10)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    model.eval()
    for size in (32, 16):
        assert model(torch.rand(2, 3, size, size)).shape == (2, 10)
    with pytest.raises(ValueError, match="pretrained"):
        timm.create_model(name, pretrained=True)


def test_width_scales_every_layer():
    model = timm.create_model("cifar_resnet18", num_classes=10, width=8)
    assert model(torch.rand(2, 3, 8, 8)).shape == (2, 10)
    assert model.fc.in_features == 64


def test_options_of_the_deep_networks():
    b = timm.create_model("cifar_resnet110", num_classes=10, shortcut="B")
    assert sum(p.numel() for p in b.parameters()) == 1_730_714
    assert timm.create_model("pyramidnet_272_shakedrop", num_classes=10).fc.in_features == 864
    small = timm.create_model("pyramidnet_272_shakedrop", num_classes=10, depth=11, alpha=6)
    keeps = [m.keep for m in small.modules() if type(m).__name__ == "ShakeDrop"]
    assert keeps == pytest.approx([5 / 6, 4 / 6, 0.5])
    for name, options, message in (
        ("cifar_resnet110", {"shortcut": "C"}, "shortcut"),
        ("cifar_resnet110", {"depth": 100}, "6 n"),
        ("pyramidnet_272_shakedrop", {"depth": 100}, "9 n"),
    ):
        with pytest.raises(ValueError, match=message):
            timm.create_model(name, **options)


SMALL = {
    "cifar_resnet110": {"depth": 8},
    "wrn_10_1": {},
    "shake_shake_26_2x32d": {"width": 4},
    "pyramidnet_272_shakedrop": {"depth": 11, "alpha": 6},
}


@pytest.mark.parametrize("name", SMALL)
def test_gradients_in_evaluation_mode_equal_finite_differences(name):
    """What saliency needs: published Shake-Shake draws new noise here, published ShakeDrop crashes."""
    model = timm.create_model(name, num_classes=4, **SMALL[name]).double()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2.0)
            module.running_mean.normal_(std=0.1)
    model.eval()
    images = torch.randn(1, 3, 7, 9, dtype=torch.float64, requires_grad=True)
    logit = model(images)[0, 1]
    (gradient,) = torch.autograd.grad(logit, images)
    direction = torch.randn_like(images)
    step = 1e-6
    with torch.no_grad():
        difference = (model(images + step * direction) - model(images - step * direction))[0, 1] / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(difference.item(), rel=1e-5)
