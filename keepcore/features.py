"""Saliency at a feature map: what a stage of the network contributes to the score, pixel by pixel.

Cheaper than the gradient with respect to the image: the forward pass needs no graph before the stage, and the
backward pass ends there.

Shape legend: B images, C channels, H W pixels, Y X positions of a feature map, N tokens.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keepcore.compiled import CompiledLogits
from keepcore.early_head import EarlyHead
from keepcore.precision import in_callers_autocast, without_autocast
from keepcore.saliency import LogitsFn, ScoreFn, check_images, label_logit, logits_of

LARGEST_STRIDE, SMALLEST_SIDE = 16, 7  # of the default stage: stride at most 16, at least 7 positions per side
_CHOSEN: WeakKeyDictionary[nn.Module, dict[tuple[int, int], str]] = WeakKeyDictionary()
_OUTPUTS: WeakKeyDictionary[nn.Module, dict[tuple[object, ...], tuple[torch.dtype, tuple[int, ...]]]] = (
    WeakKeyDictionary()
)


class Stage(NamedTuple):
    """A module whose output is a feature map.

    Attributes:
        name: its name in the network.
        stride: pixels of the image per position.
    """

    name: str
    stride: int


def feature_gradient(
    logits_fn: LogitsFn,
    images_BCHW: Tensor,
    target_B: Tensor | None = None,
    *,
    score: ScoreFn = label_logit,
    stage: str = "",
) -> Tensor:
    """Measure each position's contribution to the score: sum over channels of |gradient x activation| at a stage.

    One forward pass and the backward pass of the last stages. No gradient is computed below the stage, and none
    of the weights. Modes, autocast and flat or NaN maps are treated as by :func:`keepcore.input_gradient`.

    Args:
        logits_fn: a network, images -> logits, or the early head of a :class:`keepcore.EarlyHead`, at whose stage
            the gradient is then taken. It must be a module or a method of one, since the stage is part of it.
        images_BCHW: normalised floats; not modified.
        target_B: int64 labels or float weights target_BK, for scores that need them.
        score: see :func:`keepcore.input_gradient`.
        stage: name of the module whose output is used: B x C x Y X, B x Y X x C, or tokens B x N x C. "" chooses
            by the image size, see :func:`default_stage`.

    Returns:
        map_BHW: float32, non-negative, enlarged bilinearly to the size of the images.

    Raises:
        ValueError: there is no such stage, its output is not a feature map, or the network hides it.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        >>> feature_gradient(net, torch.rand(2, 3, 8, 8), torch.tensor([0, 1]), stage="0").shape
        torch.Size([2, 8, 8])

    Source: Selvaraju et al., ICCV 2017 (Grad-CAM, whose weights are averages of this gradient); Gong et al.,
    CVPR 2021, Sec. 3 (the score).
    Differs from the paper: it takes the gradient with respect to the image.
    """
    check_images(images_BCHW)
    network, early, compiled = _network(logits_fn)
    height, width = images_BCHW.shape[-2:]
    with torch.inference_mode(False), torch.no_grad():
        images = images_BCHW.clone() if images_BCHW.is_inference() else images_BCHW.detach()
        called = in_callers_autocast(logits_fn, images)
        name = stage or early or _stage_for(network, called, images[:1])
        if compiled is None:
            output, leaf, activation = _run(called, network, name, images)
        else:
            output, leaf, activation = _run_compiled(called, compiled, name, images)
        logits_BK = logits_of(output, len(images))
        if not logits_BK.requires_grad:
            raise ValueError(f"no gradient reaches the stage {name!r}: the network computes without gradients")
        with torch.enable_grad(), without_autocast(images):
            (gradient,) = torch.autograd.grad(score(logits_BK, target_B).sum(), leaf, allow_unused=True)
        if gradient is None:
            raise ValueError(f"the score does not depend on the stage {name!r}: name another one")
        with without_autocast(images):
            product = (gradient.float() * activation.detach().float()).abs()
            map_BYX = _positions(product, network, (height, width))
            return F.interpolate(map_BYX[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]


def _run(called: LogitsFn, network: nn.Module, name: str, images: Tensor) -> tuple[object, Tensor, Tensor]:
    """Return the network's output, the leaf at the stage, and the stage's output, which is the same tensor."""
    with _leaf_at(network, name) as leaves:
        output = called(images)
    if not leaves:
        raise ValueError(f"the forward pass never reached the stage {name!r}")
    return output, leaves[-1], leaves[-1]


def _run_compiled(
    called: LogitsFn, compiled: CompiledLogits, name: str, images: Tensor
) -> tuple[object, Tensor, Tensor]:
    """Return the compiled network's output, the zeros added at the stage as the leaf, and the stage's output."""
    key = (name, *images.shape[1:], torch.is_autocast_enabled(images.device.type))
    outputs_of = _OUTPUTS.setdefault(compiled.network, {})
    if key not in outputs_of:
        with compiled.eager():
            like = _run(called, compiled.network, name, images[:2])[1]
        outputs_of[key] = like.dtype, tuple(like.shape[1:])
    dtype, shape = outputs_of[key]
    added = torch.zeros((len(images), *shape), dtype=dtype, device=images.device).requires_grad_()
    with compiled.adding(added, name) as outputs, torch.enable_grad():
        output = called(images)
    return output, added, outputs[-1]


def default_stage(stages: Sequence[Stage], height: int, width: int) -> str:
    """Choose a stage by the image size: the largest stride, at most 16, that leaves 7 positions per side.

    That is stride 16 at 224 px, also at half the size, and stride 4 at 32 px. Among many stages of one stride, as
    in a transformer, it is the one at three quarters of the depth: in the last one, only the class token has a
    gradient.

    Args:
        stages: in the order of the network.
        height: rows of the image.
        width: columns of the image.

    Raises:
        ValueError: there are no stages.

    Example:
        >>> stages = [Stage("layer1", 4), Stage("layer2", 8), Stage("layer3", 16), Stage("layer4", 32)]
        >>> default_stage(stages, 224, 224), default_stage(stages, 64, 64)
        ('layer3', 'layer2')

    Source: measured, see keepcore's card.
    """
    if not stages:
        raise ValueError("the stages of the network cannot be told: name one with stage=")
    limit = min(LARGEST_STRIDE, min(height, width) // SMALLEST_SIDE)
    below = [stage for stage in stages if stage.stride <= max(limit, 1)] or [min(stages, key=lambda s: s.stride)]
    largest = max(stage.stride for stage in below)
    same = [stage for stage in below if stage.stride == largest]
    return same[-1 if len(same) <= 2 else max(0, round(0.75 * len(same)) - 1)].name


def stages_of(network: nn.Module) -> list[Stage]:
    """List the stages that timm's ``feature_info`` names, also of a network inside another module.

    Args:
        network: any module.

    Returns:
        The stages in the order of the network; [] if there is no feature_info.

    Source: timm (feature_info); read as an attribute, so timm need not be installed.
    """
    for prefix, module in network.named_modules():
        info = getattr(module, "feature_info", None)
        entries = getattr(info, "info", info)
        if isinstance(entries, list) and entries and all(isinstance(e, dict) and "module" in e for e in entries):
            names = {name for name, _ in module.named_modules()}
            at = f"{prefix}." if prefix else ""
            return [Stage(f"{at}{e['module']}", int(e["reduction"])) for e in entries if e["module"] in names]
    return []


def _stage_for(network: nn.Module, logits_fn: LogitsFn, image_1CHW: Tensor) -> str:
    """Return the default stage, chosen once per network and image size."""
    size = (image_1CHW.shape[-2], image_1CHW.shape[-1])
    chosen = _CHOSEN.setdefault(network, {})
    if size not in chosen:
        chosen[size] = default_stage(stages_of(network) or _measured(network, logits_fn, image_1CHW), *size)
    return chosen[size]


def _measured(network: nn.Module, logits_fn: LogitsFn, image_1CHW: Tensor) -> list[Stage]:
    """Find the strides of the outermost modules that return B x C x Y x X, by running one image."""
    found: list[Stage] = []

    def record(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[-1] > 1 and output.shape[-2] > 1:
            found.append(Stage(name, round(image_1CHW.shape[-2] / output.shape[-2])))

    outer = [(name, module) for name, module in network.named_modules() if name and name.count(".") < 2]
    handles = [module.register_forward_hook(partial(record, name)) for name, module in outer]
    try:
        logits_fn(image_1CHW)
    finally:
        for handle in handles:
            handle.remove()
    last = {stage.stride: stage for stage in found}  # the last module of each stride
    return [stage for stage in found if last[stage.stride] is stage]


@contextmanager
def _leaf_at(network: nn.Module, name: str) -> Iterator[list[Tensor]]:
    """Make a stage's output the leaf of the graph: nothing is recorded before it."""
    modules = dict(network.named_modules())
    if name not in modules:
        tops = ", ".join(child for child, _ in network.named_children())
        raise ValueError(f"no module named {name!r} in {type(network).__name__}; its top level has: {tops}")
    leaves: list[Tensor] = []

    def hook(module: nn.Module, inputs: Any, output: Any) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim not in (3, 4) or not output.is_floating_point():
            raise ValueError(f"the output of {name!r} is not a feature map: name another stage")
        leaves.append(output.detach().requires_grad_())
        torch.set_grad_enabled(True)
        return leaves[-1].clone()  # the next layer may work in place

    handle = modules[name].register_forward_hook(hook)
    try:
        yield leaves
    finally:
        handle.remove()


def _network(logits_fn: LogitsFn) -> tuple[nn.Module, str, CompiledLogits | None]:
    """Return the module behind a function, the stage of its early head if it is one, and its compiled form."""
    function: Any = logits_fn
    while not isinstance(function, nn.Module):
        if isinstance(function, CompiledLogits):
            return function.network, "", function
        owner = getattr(function, "__self__", None)
        if isinstance(owner, EarlyHead):
            return owner.model, owner.after, None
        function = owner if isinstance(owner, nn.Module) else _inner(function)
        if function is None:
            raise ValueError(
                "the feature gradient needs a module, or a method of one, as logits_fn: any other function hides "
                "the stages"
            )
    return (function.model if isinstance(function, EarlyHead) else function), "", None


def _inner(function: Any) -> Callable[..., Any] | None:
    return function.func if isinstance(function, partial) else getattr(function, "__wrapped__", None)


def _positions(product: Tensor, network: nn.Module, size: tuple[int, int]) -> Tensor:
    """Sum over channels and arrange tokens as a grid: map_BYX."""
    if product.ndim == 4:
        last = any(getattr(m, "output_fmt", None) in ("NHWC", "Format.NHWC") for m in network.modules())
        return product.sum(-1 if last else 1)
    map_BN = product.sum(2)
    count = map_BN.shape[1]
    prefixes: set[Any] = {m.num_prefix_tokens for m in network.modules() if hasattr(m, "num_prefix_tokens")}
    height, width = size
    for extra in sorted(prefixes) or (0, 1):
        rows = round(((count - extra) * height / width) ** 0.5)
        if rows > 0 and (count - extra) % rows == 0:
            return map_BN[:, extra:].reshape(len(map_BN), rows, -1)
    raise ValueError(f"{count} tokens are no grid for images of {height} x {width} px: name another stage")
