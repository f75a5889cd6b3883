"""The same backbones in torchvision's detectors: filled, frozen, normalised as they were trained."""

import pytest
import timm
import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from detection.detectors.torchvision_detectors import faster_rcnn, retinanet
from engine.errors import UserError
from networks.weights import load
from tests.detection.conftest import lively

BUILDERS = {"faster_rcnn": faster_rcnn, "retinanet": retinanet}


@pytest.mark.parametrize("name", BUILDERS)
def test_features_are_timms_and_early_layers_are_frozen(name, sources):
    model = BUILDERS[name](sources[50], num_classes=5, min_size=64, max_size=96)
    net = timm.create_model("resnet50", features_only=True, out_indices=(1, 2, 3, 4)).eval()
    state = load(sources[50]).state
    net.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        normalised = torch.stack([model.transform.normalize(image) for image in images])
        found = list(model.backbone.body(normalised).values())
        wanted = net(normalised)[-len(found) :]
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
    body = dict(model.backbone.body.named_parameters())
    assert {n.split(".")[0] for n, p in body.items() if not p.requires_grad} == {"conv1", "layer1"}
    assert {n.split(".")[0] for n, p in body.items() if p.requires_grad} == {"layer2", "layer3", "layer4"}
    assert not any(isinstance(each, nn.BatchNorm2d) for each in model.backbone.body.modules())
    assert any(isinstance(each, FrozenBatchNorm2d) for each in model.backbone.body.modules())


@pytest.mark.parametrize("name", BUILDERS)
def test_it_trains(name, sources):
    model = BUILDERS[name](sources[18], num_classes=3, min_size=64, max_size=64)
    before = model.backbone.body.conv1.weight.clone()
    target = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0]]), "labels": torch.tensor([1])}
    sum(model([torch.rand(3, 64, 64)], [target]).values()).backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1).step()
    assert torch.equal(model.backbone.body.conv1.weight, before)
    assert model.backbone.body.layer2[0].conv1.weight.grad.abs().sum() > 0


def test_freezing_and_normalisation(sources, tmp_path):
    free = faster_rcnn(sources[18], freeze_at=0)
    assert all(p.requires_grad for p in free.backbone.body.parameters())
    fixed = faster_rcnn(sources[18], freeze_at=5)
    assert not any(p.requires_grad for p in fixed.backbone.body.parameters())
    told = {"arch": "resnet18", "state_dict": lively("resnet18").state_dict()}
    torch.save({**told, "input": '{"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}'}, tmp_path / "half.pth")
    assert faster_rcnn(tmp_path / "half.pth").transform.image_mean == [0.5, 0.5, 0.5]


def test_mistakes(sources, tmp_path):
    with pytest.raises(ValueError, match="freeze_at must be 0 to 5, got 6"):
        faster_rcnn(sources[18], freeze_at=6)
    torch.save(timm.create_model("resnet18d").state_dict(), tmp_path / "deep.pth")
    with pytest.raises(UserError, match="deep stem"):
        retinanet(tmp_path / "deep.pth")
    torch.save(timm.create_model("resnet50_gn").state_dict(), tmp_path / "gn.pth")
    with pytest.raises(UserError, match="resnet50_gn is not in torchvision"):
        faster_rcnn(tmp_path / "gn.pth", arch="resnet50_gn")
