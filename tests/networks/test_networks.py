import pytest
import timm
import torch

import networks  # noqa: F401

PARAMETERS = {"cifar_resnet18": 11_173_962, "wrn_28_2": 1_467_610, "wrn_28_10": 36_479_194}


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
