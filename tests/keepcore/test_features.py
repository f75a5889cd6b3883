"""The gradient at a feature map against an explicit two-part network; stages; what must not be touched."""

import copy
import gc
import weakref
from dataclasses import replace
from functools import partial

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch._functorch.aot_autograd import aot_module_simplified

import networks  # noqa: F401
from keepcore import EarlyHead, KeepCutout, at_scale, borrowed
from keepcore.compiled import compiled_logits
from keepcore.features import Stage, default_stage, feature_gradient, stages_of
from keepcore.saliency import label_loss, max_logit


class NoBackward(torch.autograd.Function):
    """Fails if a gradient reaches it."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        raise AssertionError("a gradient went below the stage")


class Below(nn.Module):
    def forward(self, x):
        return NoBackward.apply(x)


class Parts(nn.Module):
    """A network of a lower and an upper part; the upper one works in place."""

    def __init__(self):
        super().__init__()
        self.lower = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), Below(), nn.Tanh())
        self.upper = nn.Sequential(nn.ReLU(inplace=True), nn.Conv2d(6, 7, 3, 2, 1), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(7, 5)

    def forward(self, x):
        return self.head(self.upper(self.lower(x)).mean((2, 3)))


def batch(size=(12, 10), count=3):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, *size, generator=generator), torch.tensor([1, 4, 0])[:count]


def by_hand(upper, features, score, size):
    features = features.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score(upper(features.clone())).sum(), features)
    product = (gradient * features.detach()).abs().sum(1, keepdim=True)
    return F.interpolate(product, size, mode="bilinear", align_corners=False)[:, 0]


@pytest.mark.parametrize("score", ["label", "max", "loss"])
def test_equals_the_definition_in_two_parts(score):
    torch.manual_seed(0)
    net = Parts()
    net(batch()[0])  # statistics of BatchNorm
    net.eval()
    images, labels = batch()
    scores = {
        "label": lambda logits: logits.gather(1, labels[:, None])[:, 0],
        "max": lambda logits: logits.amax(1),
        "loss": lambda logits: F.cross_entropy(logits, labels, reduction="none"),
    }
    with torch.no_grad():
        features = net.lower(images)
    expected = by_hand(lambda x: net.head(net.upper(x).mean((2, 3))), features, scores[score], (12, 10))
    functions = {"max": max_logit, "loss": label_loss}
    more = {"score": functions[score]} if score in functions else {}
    torch.testing.assert_close(feature_gradient(net, images, labels, stage="lower", **more), expected)
    with torch.inference_mode():
        torch.testing.assert_close(feature_gradient(net, images, labels, stage="lower", **more), expected)


def test_nothing_is_left_behind():
    net = Parts().train()
    before = copy.deepcopy(net.state_dict())
    images, labels = batch()
    with borrowed(net) as inner:
        map_BHW = feature_gradient(inner, images, labels, stage="lower")
    assert map_BHW.shape == (3, 12, 10)
    assert map_BHW.dtype == torch.float32
    assert not map_BHW.requires_grad
    assert torch.is_grad_enabled()
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(module.training for module in net.modules())
    assert not any(module._forward_hooks for module in net.modules())
    with pytest.raises(ValueError, match="logits"):
        feature_gradient(net.lower, images, labels, stage="1")
    assert torch.is_grad_enabled()
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize(
    ("name", "size", "stage"),
    [
        ("resnet18", 224, "layer3"),
        ("vit_tiny_patch16_224", 224, "blocks.8"),
        ("swin_tiny_patch4_window7_224", 224, "layers.2"),
        ("convnext_atto", 96, "stages.1"),
        ("tf_efficientnet_lite0", 64, "blocks.2"),
        ("cifar_resnet18", 32, "layer3"),
        ("cifar_resnet18", 16, "layer2"),
        ("wrn_28_2", 32, "block3"),
        ("pyramidnet_272_shakedrop", 32, "layer3"),
        ("shake_shake_26_2x32d", 32, "layer3"),
    ],
)
def test_the_default_stage_of_networks(name, size, stage):
    options = {"depth": 11, "alpha": 6} if "pyramid" in name else {}
    net = timm.create_model(name, num_classes=5, **options).eval()
    images = torch.randn(2, 3, size, size)
    assert default_stage(stages_of(net), size, size) == stage
    chosen = feature_gradient(net, images, torch.tensor([1, 4]))
    assert torch.equal(chosen, feature_gradient(net, images, torch.tensor([1, 4]), stage=stage))
    assert chosen.shape == (2, size, size)
    assert (chosen >= 0).all()
    assert chosen.std() > 0


def test_the_rule_of_the_default_stage():
    stages = [Stage("a", 1), Stage("b", 2), Stage("c", 4), Stage("d", 8), Stage("e", 16), Stage("f", 32)]
    names = [default_stage(stages, side, side) for side in (7, 16, 32, 64, 112, 224, 448)]
    assert names == ["a", "b", "c", "d", "e", "e", "e"]
    assert default_stage(stages, 224, 28) == "c"
    assert default_stage([Stage("late", 32)], 64, 64) == "late"
    assert default_stage([Stage(f"blocks.{i}", 16) for i in range(12)], 224, 224) == "blocks.8"
    with pytest.raises(ValueError, match="name one with stage="):
        default_stage([], 8, 8)


def test_without_feature_info_strides_are_measured():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3, 1, 1)
            self.one = nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU())
            self.two = nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU())
            self.three = nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU())
            self.head = nn.Linear(4, 5)

        def forward(self, x):
            return self.head(self.three(self.two(self.one(self.stem(x)))).mean((2, 3)))

    net, (images, labels) = Plain(), batch((32, 32))
    assert torch.equal(feature_gradient(net, images, labels), feature_gradient(net, images, labels, stage="two"))
    wrapped = nn.Sequential(nn.Identity(), net)  # as people wrap a network with its normalisation
    assert feature_gradient(wrapped, images, labels).shape == (3, 32, 32)


def test_tokens_form_a_grid_without_the_class_token():
    net = timm.create_model("vit_tiny_patch16_224", num_classes=5, dynamic_img_size=True, depth=2).eval()
    images = torch.randn(2, 3, 64, 96)
    labels = torch.tensor([1, 4])
    kept = []
    handle = net.blocks[0].register_forward_hook(lambda module, inputs, output: kept.append(output.detach()))
    net(images)
    handle.remove()

    def upper(tokens):
        return net.forward_head(net.norm(net.blocks[1](tokens)))

    tokens = kept[0].requires_grad_()
    (gradient,) = torch.autograd.grad(upper(tokens).gather(1, labels[:, None]).sum(), tokens)
    grid = (gradient * tokens).abs().sum(2)[:, 1:].reshape(2, 1, 4, 6).detach()
    expected = F.interpolate(grid, (64, 96), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(feature_gradient(net, images, labels, stage="blocks.0"), expected)


def test_the_last_dimension_of_swin_is_its_channels():
    net = timm.create_model("swin_tiny_patch4_window7_224", num_classes=5, depths=(1, 1, 1, 1), img_size=56).eval()
    images, labels = torch.randn(1, 3, 56, 56), torch.tensor([2])
    seen = []
    handle = net.layers[1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    net(images)
    handle.remove()
    assert seen[0].shape == (1, 7, 7, 192)
    assert feature_gradient(net, images, labels, stage="layers.1").shape == (1, 56, 56)


def test_the_early_head_uses_its_own_stage(tiny_net):
    twin = EarlyHead(tiny_net, 5, image_size=16)
    images, labels = batch((16, 16))
    with borrowed(twin) as inner:
        early = feature_gradient(inner.early_logits, images, labels)
        (features,) = (twin._run(images, stop=True)[1].detach(),)
        expected = by_hand(
            inner._classify, features, lambda logits: logits.gather(1, labels[:, None])[:, 0], (16, 16)
        )
        full = feature_gradient(inner, images, labels, stage=twin.after)
    torch.testing.assert_close(early, expected)
    assert not torch.allclose(full, early)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_applies_to_the_network_alone(dtype):
    torch.manual_seed(0)
    net = Parts().eval()
    images, labels = batch()
    expected = feature_gradient(net, images, labels, stage="lower")
    with torch.autocast("cpu", dtype=dtype):
        half = feature_gradient(net, images, labels, stage="lower")
    assert half.dtype == torch.float32
    assert (half - expected).norm() < 0.2 * expected.norm()  # a few units of ReLU change sides
    assert not torch.equal(half, expected)


def test_the_callers_autocast_still_trains_every_weight(tiny_net):
    """Weights that autocast casts in the pass without gradients must not serve the training."""
    images, labels = batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        keep = KeepCutout(4, saliency=lambda *a: feature_gradient(*a, stage="layer2"))
        loss = F.cross_entropy(tiny_net(keep(tiny_net, images, labels).images_BCHW).float(), labels)
    loss.backward()
    assert all(parameter.grad is not None for parameter in tiny_net.parameters())


def test_any_scale(tiny_net):
    images, labels = batch((33, 20))
    with borrowed(tiny_net) as inner:
        name = next(name for name, module in inner.named_modules() if isinstance(module, nn.Conv2d))
        for scale in (0.5, 1.3):
            small = at_scale(lambda *a: feature_gradient(*a, stage=name), scale)
            assert small(inner, images, labels).shape == (3, 33, 20)


def test_flat_and_nan_maps_have_the_defined_answers():
    net = Parts().eval()
    images, labels = batch()
    nn.init.zeros_(net.head.weight)
    kept = KeepCutout(4, saliency=lambda *a: feature_gradient(*a, stage="lower"))(net, images, labels)
    assert kept.flat_B.all()
    nn.init.constant_(net.head.weight, torch.nan)
    kept = KeepCutout(4, saliency=lambda *a: feature_gradient(*a, stage="lower"))(net, images, labels)
    assert kept.flat_B.all()


def test_mistakes():
    net = Parts().eval()
    images, labels = batch()
    cases = (
        (net, {"stage": "layer9"}, "no module named 'layer9' in Parts; its top level has: lower, upper, head"),
        (net, {"stage": "head"}, "the output of 'head' is not a feature map"),
        (lambda x: net(x), {"stage": "lower"}, "needs a module, or a method of one"),
    )
    for function, options, message in cases:
        with pytest.raises(ValueError, match=message):
            feature_gradient(function, images, labels, **options)
    net.unused = nn.Conv2d(3, 3, 1)
    with pytest.raises(ValueError, match="never reached the stage 'unused'"):
        feature_gradient(net, images, labels, stage="unused")

    class Hidden(Parts):
        def forward(self, x):
            return super().forward(x).detach()

    with pytest.raises(ValueError, match="computes without gradients"):
        feature_gradient(Hidden(), images, labels, stage="lower")


def compiled_for_tests(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # needs no C++ compiler


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("bf16", [False, True])
def test_compiled_maps_are_the_eager_ones(monkeypatch, scale, bf16):
    compiled_for_tests(monkeypatch)
    net, (images, labels) = Parts().train(), batch((24, 20))
    net.lower[2] = nn.Identity()  # its Python function cannot be compiled
    saliency = partial(feature_gradient, stage="lower")
    saliency = saliency if scale == 1.0 else at_scale(saliency, scale)
    eager, compiled = KeepCutout(4, saliency=saliency), KeepCutout(4, saliency=saliency, head=compiled_logits)
    context = partial(torch.autocast, "cpu", dtype=torch.bfloat16, enabled=bf16)
    eager, compiled = replace(eager, autocast=context), replace(compiled, autocast=context)
    tolerance = 0.05 if bf16 else 1e-5
    for count in (3, 3, 2):  # again, and another batch size
        one, other = (keep.map_of(net, images[:count], labels[:count]) for keep in (eager, compiled))
        assert torch.allclose(one, other, rtol=tolerance, atol=tolerance * one.max().item())
    with torch.no_grad():
        net.head.weight.mul_(2.0)  # the weights of the moment
    one, other = (keep.map_of(net, images, labels) for keep in (eager, compiled))
    assert torch.allclose(one, other, rtol=tolerance, atol=tolerance * one.max().item())
    assert net.training
    assert all(p.grad is None for p in net.parameters())
    assert not net.lower._forward_hooks


def test_the_compiled_backward_pass_ends_at_the_stage(monkeypatch):
    """The graph of the gradient has no convolution of the lower part, and none of weights."""
    graphs = []

    def backend(graph, inputs):
        def backward(module, inputs):
            graphs.append([str(node.target) for node in module.graph.nodes])
            return module.forward

        return aot_module_simplified(graph, inputs, fw_compiler=lambda m, i: m.forward, bw_compiler=backward)

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    net, (images, labels) = Parts(), batch()
    net.lower[2] = nn.Identity()
    KeepCutout(4, saliency=partial(feature_gradient, stage="lower"), head=compiled_logits).map_of(
        net, images, labels
    )
    convolutions = [target for graph in graphs for target in graph if "convolution_backward" in target]
    assert len(graphs) == 1
    assert len(convolutions) == 1  # the upper part has one convolution, the lower part another


def test_a_compiled_network_dies_with_its_last_reference(monkeypatch):
    compiled_for_tests(monkeypatch)
    net, (images, labels) = Parts(), batch()
    net.lower[2] = nn.Identity()
    KeepCutout(4, saliency=partial(feature_gradient, stage="lower"), head=compiled_logits).map_of(
        net, images, labels
    )
    dead = weakref.ref(net)
    del net
    torch._dynamo.reset()
    gc.collect()
    assert dead() is None
