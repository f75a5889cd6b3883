import pytest
import timm
import torch
from torch import nn

from keepcore import EarlyHead, KeepCutout, early_logits, without_early_head


def test_runs_only_the_first_stage(tiny_net):
    twin = EarlyHead(tiny_net, 5, image_size=16)
    calls = []
    tiny_net.layer2.register_forward_hook(lambda *a: calls.append(1))
    images = torch.randn(2, 3, 16, 16)
    twin.early_logits(images)
    assert calls == []
    twin.eval()
    stage = tiny_net.layer1(images)
    torch.testing.assert_close(twin.early_logits(images), twin.fc(stage.mean((2, 3))))
    assert torch.equal(twin(images), tiny_net(images))


def test_joint_training_reaches_head_and_stage_and_leaves_no_hook(tiny_net):
    twin = EarlyHead(tiny_net, 5, image_size=16)
    hooks = sum(len(m._forward_hooks) for m in twin.modules())
    logits, early = twin(torch.randn(2, 3, 16, 16))
    (logits.sum() + 0.3 * early.sum()).backward()
    assert twin.fc.weight.grad is not None
    assert tiny_net.layer1[0].weight.grad is not None
    assert sum(len(m._forward_hooks) for m in twin.modules()) == hooks == 0


@pytest.mark.parametrize(
    "name", ["resnet18", "resnetv2_50", "convnext_atto", "vit_tiny_patch16_224", "mobilenetv3_small_050"]
)
def test_any_timm_network(name):
    net = timm.create_model(name, num_classes=7)
    size = 224 if "vit" in name else 64
    twin = EarlyHead(net, 7, image_size=size)
    assert twin.early_logits(torch.randn(1, 3, size, size)).shape == (1, 7)
    keep = KeepCutout(8, head=early_logits)
    assert keep(twin, torch.randn(1, 3, size, size), torch.tensor([3])).share_B.isfinite().all()


def test_probe_leaves_the_network_as_it_was(tiny_net):
    before = {k: v.clone() for k, v in tiny_net.state_dict().items()}
    EarlyHead(tiny_net, 5, image_size=16)
    assert all(torch.equal(before[k], v) for k, v in tiny_net.state_dict().items())
    assert all(m.training for m in tiny_net.modules())


def test_removal_and_state_dict(tiny_net):
    twin = EarlyHead(tiny_net, 5, image_size=16)
    assert without_early_head(twin) is tiny_net
    assert without_early_head(nn.DataParallel(twin)) is tiny_net
    keys = set(twin.state_dict())
    assert keys == {f"model.{k}" for k in tiny_net.state_dict()} | {"fc.weight", "fc.bias"}


def test_errors(tiny_net):
    with pytest.raises(ValueError, match="no module named 'layer9' in TinyNet; its top level has: layer1"):
        EarlyHead(tiny_net, 5, "layer9")
    with pytest.raises(ValueError, match="pass after="):
        EarlyHead(nn.Sequential(nn.Conv2d(3, 3, 1)), 5)
    with pytest.raises(ValueError, match="not a feature map"):
        EarlyHead(tiny_net, 5, "fc", image_size=16)
