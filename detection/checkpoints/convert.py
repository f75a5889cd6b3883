"""Renames a ResNet's tensors from timm and torchvision names to Detectron2's, or explains why it cannot."""

import re

import torch
from torch import Tensor

from detection.checkpoints.arch import ARCHS, DEPTHS, Arch, expected_shapes
from detection.checkpoints.names import to_detectron2
from engine.errors import UserError, nearest

# Names of tensors that reveal a network that Detectron2's ResNet cannot express.
_SIGNS = (
    (r"conv1\.\d+\.weight", "a deep stem of 3x3 convolutions (resnet*d, *c, *s, *t) instead of one 7x7"),
    (r"layer\d\.\d+\.(se|attn)\.", "squeeze-and-excitation or other attention in its blocks"),
    (r"layer\d\.\d+\.conv2\.(fc|attn|conv)", "split attention or selective kernels in its blocks"),
    (r"layer\d\.\d+\.downsample\.2\.", "average-pool downsampling (resnet*d)"),
    (r"layer\d\.\d+\.(aa|conv\d\.1)\.", "anti-aliasing filters in its blocks"),
    (r".*\.aux_bn\.", "split BatchNorm (remove its aux_bn tensors, which are used only in training)"),
    (r"layer\d\.\d+\.convs\.", "Res2Net blocks"),
    (r"stages\.\d+\.blocks\.\d+\.norm1", "pre-activation blocks (ResNet v2)"),
    (r"(stages|patch_embed|cls_token|blocks|features)\b", "layers of another family, so it is not a ResNet"),
)
_TWINS = {"resnetaa": "averages before striding", "resnetblur": "blurs before striding"}
_WAY_OUT = "TimmBackbone can train it unchanged: detection/configs/lazy/faster_rcnn_timm_FPN_3x.py"


def choose_arch(state: dict[str, Tensor], recorded: str, requested: str) -> tuple[str, Arch, str]:
    """Determine the architecture of the weights.

    Args:
        state: timm names -> tensors.
        recorded: architecture recorded in the file, or "".
        requested: architecture that the user requests, or ""; takes precedence.

    Returns:
        Name, architecture, and a warning or "".

    Raises:
        UserError: Detectron2 cannot express the architecture, or the weights belong to a different one.

    Source: timm's model zoo, where resnetaa50 and resnetblur50 have exactly resnet50's names and shapes.
    """
    name = _plain_name(requested or recorded)
    _refuse(state)
    if name and name not in ARCHS:
        raise UserError(_no_equivalent(name))
    shape = infer(state)
    fits = [candidate for candidate, arch in ARCHS.items() if arch == shape]
    if name and name not in fits:
        hint = f" (if {fits[0]} is correct, pass --arch {fits[0]})" if fits else ""
        if shape.norm == "GN":
            hint = "; they have no BatchNorm statistics: for averaged parameters without buffers, try --use raw"
        raise UserError(f"the weights are those of {' or '.join(fits) or shape}, not of {name}{hint}")
    if not fits:
        raise UserError(f"{shape} cannot be converted; supported architectures are {', '.join(ARCHS)}")
    if shape.norm == "GN" and not name:
        raise UserError(
            "the weights have no BatchNorm statistics: for averaged parameters without buffers, try --use raw; "
            f"for a network with GroupNorm, pass --arch {fits[0]}"
        )
    warning = ""
    if requested and recorded and _plain_name(requested) != _plain_name(recorded):
        warning = f"the file says that it is {recorded}; it is converted as {requested}, as --arch says"
    if not name:
        warning = (
            f"the file names no architecture; its tensors match {fits[0]}. Anti-aliased variants (resnetaa50, "
            "resnetblur50) have the same tensors but would give wrong features: pass --arch to be sure"
        )
    return name or fits[0], shape, warning


def _plain_name(name: str) -> str:
    """Map a former timm name of a plain ResNet's weights to the name of the network."""
    match = re.fullmatch(r"(?:tv|ssl|swsl|ig)_(\w+)|gluon_(\w+?)(?:_v1b)?", name)
    plain = next((group for group in match.groups() if group), name) if match else name
    return plain if plain in ARCHS else name


def _no_equivalent(name: str) -> str:
    for twin, does in _TWINS.items():
        if name.startswith(twin):
            plain = name.replace(twin, "resnet")
            return (
                f"{name} has the same tensors as {plain} but {does}, "
                f"so it would give wrong features after conversion; {_WAY_OUT}"
            )
    near = nearest(name, ARCHS)
    return f"{name} has no equivalent in Detectron2{near}; supported are {', '.join(ARCHS)}; {_WAY_OUT}"


def infer(state: dict[str, Tensor]) -> Arch:
    """Infer depth, groups, width and normalisation from the tensors.

    Raises:
        UserError: the tensors match no ResNet of Detectron2.

    Source: the shapes of timm's ResNet.
    """
    blocks = tuple(
        1 + max((int(m[1]) for name in state if (m := re.match(rf"layer{i}\.(\d+)\.", name))), default=-1)
        for i in (1, 2, 3, 4)
    )
    if 0 in blocks:
        raise UserError(f"the weights have no layer{blocks.index(0) + 1}: the file is truncated")
    bottleneck = "layer1.0.conv3.weight" in state
    depth = next((d for d, b in DEPTHS.items() if b == blocks and (d >= 50) == bottleneck), None)
    if depth is None:
        kind = "bottleneck" if bottleneck else "basic"
        raise UserError(f"stages of {blocks} {kind} blocks match no ResNet depth of Detectron2 {tuple(DEPTHS)}")
    norm = "BN" if "bn1.running_mean" in state else "GN"
    middle = state.get("layer1.0.conv2.weight")
    if middle is None or middle.ndim != 4:
        raise UserError("layer1.0.conv2 is not a plain convolution, so Detectron2's ResNet lacks the block")
    if not bottleneck:
        return Arch(depth, norm=norm)
    groups = middle.shape[0] // middle.shape[1]
    return Arch(depth, groups, middle.shape[0] // groups, norm)


def convert(state: dict[str, Tensor], arch: Arch, *, keep_fc: bool = False) -> dict[str, Tensor]:
    """Rename all tensors, omitting BatchNorm's step counters and, by default, the classifier.

    Args:
        state: timm or torchvision names -> tensors of any floating-point type.
        arch: from :func:`choose_arch`.
        keep_fc: keep the classifier as ``linear.*``, for Detectron2's ``ResNet(num_classes=K)``.

    Returns:
        Detectron2 names (``stem.conv1.weight``, ``res2.0.conv1.norm.bias``, ...) -> float32 copies.

    Raises:
        UserError: a tensor is missing, unexpected, not finite or of the wrong shape or type, or a variance < 0.

    Source: detectron2/modeling/backbone/resnet.py; names of torchvision's ResNet.
    """
    expected, converted, unknown = expected_shapes(arch), {}, []
    if keep_fc:
        if not {"fc.weight", "fc.bias"} <= state.keys() or state["fc.weight"].ndim != 2:
            raise UserError("--keep-fc: the file has no classifier with fc.weight and fc.bias")
        expected |= {f"linear.{tail}": tuple(state[f"fc.{tail}"].shape) for tail in ("weight", "bias")}
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked") or (name.startswith("fc.") and not keep_fc):
            continue
        renamed = to_detectron2(name)
        if renamed is None:
            unknown.append(name)
            continue
        _check_kind(name, tensor)
        converted[renamed] = tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
    _check_names(expected, converted, unknown)
    for name, tensor in converted.items():
        if not tensor.isfinite().all():
            raise UserError(f"{name} has values that are not finite: the training diverged")
        if name.endswith("running_var") and bool((tensor < 0).any()):
            raise UserError(f"{name} has negative variances: the file is damaged")
    return converted


def _check_kind(name: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        raise UserError(f"{name} is {tensor.dtype}, not floating point: convert the weights before quantising")
    if tensor.layout != torch.strided or tensor.is_meta:
        raise UserError(f"{name} is a {'meta' if tensor.is_meta else 'sparse'} tensor; dense values are needed")


def _refuse(state: dict[str, Tensor]) -> None:
    """Raise an error with the reason if the weights cannot be those of a plain ResNet."""
    if any(re.match(r"res\d_\d+_branch", name) for name in state):
        raise UserError("the file is a Caffe2 model of Detectron's zoo: use it unconverted as MODEL.WEIGHTS")
    reasons = [text for sign, text in _SIGNS if any(re.match(sign, name) for name in state)]
    if reasons:
        raise UserError(
            f"Detectron2's ResNet cannot express this network: it has {'; '.join(reasons)}; {_WAY_OUT}"
        )
    stem = state.get("conv1.weight")
    if stem is None:
        raise UserError(f"not a ResNet: no conv1.weight; the first names are {', '.join(sorted(state)[:4])}")
    shape = tuple(stem.shape)
    if shape != (64, 3, 7, 7):
        kind = "a CIFAR stem" if shape[2:] == (3, 3) else f"{shape[1]} input channels instead of 3"
        kind = kind if shape[1] != 3 or shape[2:] == (3, 3) else "a different stem"
        raise UserError(f"the stem conv1 has shape {shape} ({kind}); Detectron2 expects (64, 3, 7, 7)")


def _check_names(expected: dict[str, tuple[int, ...]], converted: dict[str, Tensor], unknown: list[str]) -> None:
    shapes = [
        f"{name} {tuple(converted[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in converted and tuple(converted[name].shape) != shape
    ]
    problems = (
        ("unknown", unknown),
        ("missing", sorted(expected.keys() - converted.keys())),
        ("unexpected", sorted(converted.keys() - expected.keys())),
        ("of the wrong shape", shapes),
    )
    parts = [f"{len(names)} {what} (e.g. {names[0]})" for what, names in problems if names]
    if parts:
        raise UserError(f"the tensors are not those of a complete plain ResNet: {', '.join(parts)}")
