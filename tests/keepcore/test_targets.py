"""Soft labels, outputs that are no tensors, networks of one image size, networks with hardly a gradient."""

import math
import warnings
from dataclasses import dataclass

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from keepcore import KeepCutMix, KeepCutout, at_scale, borrowed, input_gradient
from keepcore.features import feature_gradient
from keepcore.saliency import label_logit, label_loss, multilabel_loss


def batch():
    return torch.randn(3, 3, 12, 10, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 4, 0])


def test_soft_labels_weigh_the_logits(tiny_net):
    images, labels = batch()
    hard = F.one_hot(labels, 5).float()
    with borrowed(tiny_net) as net:
        for score in (label_logit, label_loss):
            expected = input_gradient(net, images, labels, score=score)
            torch.testing.assert_close(input_gradient(net, images, hard, score=score), expected)
        mixed = 0.3 * hard + 0.7 * hard.roll(1, 0)
        by_hand = torch.autograd.grad((net(images.requires_grad_()) * mixed).sum(), images)[0].abs().amax(1)
        torch.testing.assert_close(input_gradient(net, images.detach(), mixed), by_hand)
    logits = torch.tensor([[1.0, -2.0]])
    both = torch.tensor([[1.0, 1.0]])
    expected = math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2))
    assert multilabel_loss(logits, both).item() == pytest.approx(expected, rel=1e-6)


def test_soft_labels_are_mixed(tiny_net):
    images, labels = batch()
    hard = F.one_hot(labels, 5).float()
    targets = []
    for given in (labels, hard):
        kept = KeepCutMix()(tiny_net, images, given, generator=torch.Generator().manual_seed(0))
        targets.append(kept.target(given, 5))
    assert torch.equal(*targets)


@pytest.mark.parametrize(
    ("score", "target", "message"),
    [
        (label_logit, torch.tensor([[1], [4], [0]]), "int64 of shape batch, or float"),
        (label_logit, torch.tensor([1.0, 4.0, 0.0]), "int64 of shape batch, or float"),
        (label_loss, torch.ones(3, 4), r"\(3, 5\)\), got torch.float32 of shape \(3, 4\)"),
        (multilabel_loss, torch.tensor([1, 4, 0]), "multi-label loss needs float targets"),
        (multilabel_loss, None, "multi-label loss needs float targets"),
    ],
)
def test_targets_that_a_score_cannot_take(score, target, message, tiny_net):
    with borrowed(tiny_net) as net, pytest.raises(ValueError, match=message):
        input_gradient(net, batch()[0], target, score=score)


@dataclass
class Output:
    logits: torch.Tensor
    hidden: object = None


@pytest.mark.parametrize("wrap", [Output, lambda logits: {"logits": logits, "features": None}])
@pytest.mark.parametrize("saliency", ["input", "feature"])
def test_outputs_with_logits(wrap, saliency, tiny_net):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = tiny_net

        def forward(self, images):
            return wrap(self.net(images))

    images, labels = batch()
    stage = next(name for name, module in tiny_net.named_modules() if isinstance(module, nn.Conv2d))
    with borrowed(Wrapped()) as outer:
        if saliency == "input":
            got, expected = input_gradient(outer, images, labels), input_gradient(outer.net, images, labels)
        else:
            got = feature_gradient(outer, images, labels, stage=f"net.{stage}")
            expected = feature_gradient(outer.net, images, labels, stage=stage)
    assert torch.equal(got, expected)
    with pytest.raises(ValueError, match="must return 3 x classes logits, got dict"):
        input_gradient(lambda x: {"scores": x}, images, labels)


def test_a_network_of_one_image_size_names_the_remedy():
    net = timm.create_model("vit_tiny_patch16_224", num_classes=5, depth=1).eval()
    images, labels = torch.randn(1, 3, 224, 224), torch.tensor([0])
    with pytest.raises(ValueError, match="112 x 112 px.*dynamic_img_size=True"):
        at_scale(input_gradient, 0.5)(net, images, labels)
    net = timm.create_model("vit_tiny_patch16_224", num_classes=5, depth=1, dynamic_img_size=True).eval()
    assert at_scale(input_gradient, 0.5)(net, images, labels).shape == (1, 224, 224)


def test_a_network_with_hardly_a_gradient_is_warned_of_once():
    images, labels = torch.randn(2, 3, 64, 64), torch.tensor([0, 1])
    net = timm.create_model("resnet18", num_classes=5)  # timm's zero_init_last
    with pytest.warns(UserWarning, match=r"only \d+% of the pixels of ResNet's first.*zero_init_last"):
        KeepCutout(8)(net, images, labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KeepCutout(8)(net, images, labels)
        KeepCutout(8)(timm.create_model("resnet18", num_classes=5, zero_init_last=False), images, labels)
