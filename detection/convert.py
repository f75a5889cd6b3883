"""Rename a ResNet's tensors from timm's and torchvision's names to Detectron2's, or say why it cannot be done."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from detection.arch import ARCHS, DEPTHS, Arch, expected_shapes
from keepcore.run.errors import UserError, nearest

_TAIL = r"(weight|bias|running_mean|running_var)"
_RENAMES = (
    (re.compile(r"conv1\.weight"), r"stem.conv1.weight"),
    (re.compile(rf"bn1\.{_TAIL}"), r"stem.conv1.norm.\1"),
    (re.compile(r"layer(\d)\.(\d+)\.conv(\d)\.weight"), r"res\1.\2.conv\3.weight"),
    (re.compile(rf"layer(\d)\.(\d+)\.bn(\d)\.{_TAIL}"), r"res\1.\2.conv\3.norm.\4"),
    (re.compile(r"layer(\d)\.(\d+)\.downsample\.0\.weight"), r"res\1.\2.shortcut.weight"),
    (re.compile(rf"layer(\d)\.(\d+)\.downsample\.1\.{_TAIL}"), r"res\1.\2.shortcut.norm.\3"),
)
# What a name in the checkpoint gives away about a network that Detectron2's ResNet cannot express.
_SIGNS = (
    (r"conv1\.\d+\.weight", "a deep stem of 3x3 convolutions (resnet*d, *c, *s, *t); Detectron2 has one 7x7"),
    (r"layer\d\.\d+\.(se|attn)\.", "squeeze-and-excitation or another attention in its blocks"),
    (r"layer\d\.\d+\.downsample\.2\.", "average-pool downsampling (resnet*d)"),
    (r"layer\d\.\d+\.(aa|conv\d\.1)\.", "anti-aliasing filters in its blocks"),
    (r".*\.aux_bn\.", "split BatchNorm: merge it with timm.layers.convert_splitbn_model first"),
    (r"layer\d\.\d+\.convs\.", "Res2Net blocks"),
    (r"(patch_embed|cls_token|blocks|features)\b", "not a ResNet's layers"),
    (r"stages\.\d+", "pre-activation or another family's stages"),
)
_D2_NAMES = ("stem.conv1.", "res2.0.", "backbone.bottom_up.", "backbone.res2.")


def choose_arch(state: dict[str, Tensor], named: str, asked: str) -> tuple[str, Arch, str]:
    """Decide which architecture the weights are.

    Args:
        state: timm names -> tensors.
        named: what the file says, or "".
        asked: what the user says, or ""; wins.

    Returns:
        Name, architecture, and a warning or "".

    Raises:
        UserError: an architecture that Detectron2 cannot express, or weights that are of another one.

    Source: facts of timm's model zoo: resnetaa50 and resnetblur50 have resnet50's names and shapes exactly.
    """
    name = asked or named
    _refuse(state)
    if name and name not in ARCHS:
        near = nearest(name, ARCHS)
        raise UserError(f"{name} has no equivalent in Detectron2{near}; these convert: {', '.join(ARCHS)}")
    found = infer(state)
    fits = [each for each, arch in ARCHS.items() if arch == found]
    if name and name not in fits:
        raise UserError(f"the weights are those of {' or '.join(fits) or found}, not of {name}")
    if not fits:
        raise UserError(f"{found} is no architecture that is known to convert: {', '.join(ARCHS)}")
    warning = ""
    if not name:
        warning = (
            f"the file names no architecture; its tensors are {fits[0]}'s. Anti-aliased twins (resnetaa50, "
            "resnetblur50) have the same tensors and would give wrong features: pass --arch to be sure"
        )
    return name or fits[0], found, warning


def infer(state: dict[str, Tensor]) -> Arch:
    """Read depth, groups, width and normalisation off the tensors.

    Raises:
        UserError: no depth that Detectron2 offers.

    Source: the shapes of timm's ResNet.
    """
    blocks = tuple(
        1 + max((int(m[1]) for name in state if (m := re.match(rf"layer{i}\.(\d+)\.", name))), default=-1)
        for i in (1, 2, 3, 4)
    )
    bottleneck = "layer1.0.conv3.weight" in state
    depth = next((d for d, b in DEPTHS.items() if b == blocks and (d >= 50) == bottleneck), None)
    if depth is None:
        kind = "bottleneck" if bottleneck else "basic"
        raise UserError(f"stages of {blocks} {kind} blocks are no depth of Detectron2's ResNet {tuple(DEPTHS)}")
    norm = "BN" if "bn1.running_mean" in state else "GN"
    middle = state.get("layer1.0.conv2.weight")
    if middle is None or middle.ndim != 4:
        raise UserError("layer1.0.conv2 is not one plain convolution: no block that Detectron2's ResNet has")
    if not bottleneck:
        return Arch(depth, norm=norm)
    groups = middle.shape[0] // middle.shape[1]
    return Arch(depth, groups, middle.shape[0] // groups, norm)


def convert(state: dict[str, Tensor], arch: Arch) -> dict[str, Tensor]:
    """Rename all tensors; the classifier and BatchNorm's step counters are left out.

    Args:
        state: timm or torchvision names -> tensors, any float type.
        arch: from :func:`choose_arch`.

    Returns:
        Detectron2 names (``stem.conv1.weight``, ``res2.0.conv1.norm.bias``, ...) -> float32 copies.

    Raises:
        UserError: a tensor too many, too few, of another shape, not finite, or a negative variance.

    Source: detectron2/modeling/backbone/resnet.py; names of torchvision's ResNet.
    """
    wanted, converted, unknown = expected_shapes(arch), {}, []
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked") or name in ("fc.weight", "fc.bias"):
            continue
        renamed = rename(name)
        if renamed is None:
            unknown.append(name)
        else:
            converted[renamed] = tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
    _check_names(wanted, converted, unknown)
    for name, tensor in converted.items():
        if not tensor.isfinite().all():
            raise UserError(f"{name} has values that are not finite: the training has diverged")
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise UserError(f"{name} has negative variances: the file is damaged")
    return converted


def rename(name: str) -> str | None:
    """Give a tensor's Detectron2 name, or None when it has none.

    Source: see :func:`convert`.
    """
    for pattern, target in _RENAMES:
        match = pattern.fullmatch(name)
        if match:
            renamed = match.expand(target)
            return re.sub(r"^res(\d)", lambda m: f"res{int(m[1]) + 1}", renamed)
    return None


def _refuse(state: dict[str, Tensor]) -> None:
    """Say in one sentence why this cannot be a plain ResNet."""
    if any(name.startswith(_D2_NAMES) for name in state):
        raise UserError("this already is a Detectron2 checkpoint: give it as MODEL.WEIGHTS")
    reasons = [text for sign, text in _SIGNS if any(re.match(sign, name) for name in state)]
    if reasons:
        raise UserError(f"Detectron2's ResNet cannot express this network: it has {'; '.join(reasons)}")
    stem = state.get("conv1.weight")
    if stem is None:
        raise UserError(f"no conv1.weight, so no ResNet; the first names are {', '.join(sorted(state)[:4])}")
    if tuple(stem.shape) != (64, 3, 7, 7):
        raise UserError(
            f"the stem is {tuple(stem.shape)}, Detectron2's is (64, 3, 7, 7): "
            "CIFAR stems and grey images do not convert"
        )


def _check_names(wanted: dict[str, tuple[int, ...]], converted: dict[str, Tensor], unknown: list[str]) -> None:
    shapes = [
        f"{name} {tuple(converted[name].shape)} instead of {shape}"
        for name, shape in wanted.items()
        if name in converted and tuple(converted[name].shape) != shape
    ]
    problems = (
        ("unknown", unknown),
        ("missing", sorted(wanted.keys() - converted.keys())),
        ("unexpected", sorted(converted.keys() - wanted.keys())),
        ("of another shape", shapes),
    )
    found = [f"{len(names)} {what} (e.g. {names[0]})" for what, names in problems if names]
    if found:
        raise UserError(f"not a plain ResNet, or a truncated one: tensors {', '.join(found)}")
