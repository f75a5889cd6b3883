"""Checks that a backbone matches a detector's config, for ``python -m detection.check``."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from detection.check import CheckOptions
from detection.checkpoints.arch import ARCHS, DEPTHS, Arch
from detection.checkpoints.write import pixels, read, resnet_keys
from detection.detectors.build import (
    Detector,
    backbone_tensors,
    build,
    load_weights,
    local_file,
    missing_tensors,
    resnet_tensors,
    unused_tensors,
)
from detection.options import check_overrides
from engine.errors import UserError


class CheckResult(NamedTuple):
    """Result of a check.

    Attributes:
        problems: one line each, with the override that corrects it.
        remarks: observations that are not problems.
    """

    problems: list[str]
    remarks: list[str]

    def show(self) -> int:
        """Print the result; return the exit code: 1 if there is a problem."""
        print(
            "\n".join(
                [*(f"remark: {text}" for text in self.remarks), *(f"WRONG: {text}" for text in self.problems)]
            )
        )
        if not self.problems:
            print("fits: every backbone tensor is filled from the file")
        return int(bool(self.problems))


def run(options: CheckOptions) -> int:
    """Check the weights and print the result; return the exit code.

    Raises:
        UserError: the config or the weights are not given.
    """
    words = list(options.words)
    config, weights = (
        given or (words.pop(0) if words else "") for given in (options.config_file, options.weights)
    )
    if not config or not weights:
        raise UserError("give a config and the converted weights: python -m detection.check CONFIG WEIGHTS")
    check_overrides(words)
    return check(Path(config), weights, words).show()


def check(config: Path, weights: Path | str, overrides: Sequence[str] = ()) -> CheckResult:
    """Compare a detector's config with the backbone from which it will be trained.

    Args:
        config: YAML file or LazyConfig .py.
        weights: .pth or .pkl file, or its address.
        overrides: overrides in the format of train_net.py.

    Raises:
        UserError: a file is missing, Detectron2 cannot build the config, or the model lacks Detectron2's ResNet.

    Source: detectron2/modeling; README.md lists the possible problems.
    """
    weights = local_file(weights)
    tensors, provenance = read(weights)
    if "conv1.weight" in tensors or any(".conv1.weight" in name and "layer1." in name for name in tensors):
        raise UserError(
            f"{weights} has timm's names, so nothing would match: convert it with tools/convert_to_d2.py first"
        )
    detector = build(config, overrides)
    if not resnet_tensors(detector.model.state_dict()):
        raise UserError(f"{config} does not use Detectron2's ResNet; TimmBackbone checks its weights on loading")
    if not hasattr(detector.model, "input_format"):
        raise UserError(f"{config}: {type(detector.model).__name__} has no channel order and mean to check")
    load_weights(detector.model, weights)
    arch = ARCHS.get(str(provenance.get("arch", "")))
    problems, remarks = _tensors(detector, tensors, arch), _remarks(detector)
    if provenance:
        problems += _inputs(detector, provenance) + _strides(detector, provenance)
        if provenance.get("arch_assumed"):
            remarks.append(
                f"the architecture {provenance['arch']} was assumed from the shapes alone, which anti-aliased "
                "variants (resnetaa50, resnetblur50) share: convert again with --arch to be sure"
            )
    else:
        remarks.append("the file does not record its origin, so channel order, mean and stride are not checked")
    return CheckResult(problems, remarks)


# YAML's key -> the LazyConfig's
_LAZY_KEYS = {
    "INPUT.FORMAT": "model.input_format",
    "MODEL.PIXEL_MEAN": "model.pixel_mean",
    "MODEL.PIXEL_STD": "model.pixel_std",
    "MODEL.RESNETS.DEPTH": "{resnet}.stages.depth",
    "MODEL.RESNETS.STRIDE_IN_1X1": "{resnet}.stages.stride_in_1x1",
}


def _setting(detector: Detector, key: str, value: Any) -> str:
    """Write an override in the config's own syntax: ``KEY VALUE``, or ``key=value`` for a LazyConfig."""
    equals = "=" if detector.lazy else " "
    return f"{_key(detector, key)}{equals}{str(value).replace(' ', '')}"


def _key(detector: Detector, key: str) -> str:
    """Return the key of a YAML config or, for a LazyConfig, its counterpart there."""
    return _in_lazy(detector, _LAZY_KEYS.get(key, key)) if detector.lazy else key


def _in_lazy(detector: Detector, text: str) -> str:
    """Fill in where a LazyConfig keeps its ResNet."""
    within = detector.lazy and "bottom_up" in detector.cfg.model.backbone
    return text.format(resnet="model.backbone.bottom_up" if within else "model.backbone")


def _tensors(detector: Detector, tensors: dict[str, Tensor], arch: Arch | None) -> list[str]:
    """Report backbone tensors that were not filled, and tensors of the file that were not used."""
    model = detector.model
    own, theirs = resnet_tensors(model.state_dict()), backbone_tensors(tensors)
    missing, unused = missing_tensors(model, tensors), unused_tensors(model, tensors)
    problems = []
    if missing:
        problems.append(
            f"{len(missing)} of {len(own)} backbone tensors stay random, e.g. {missing[0]} "
            f"(blocks per stage in the file: {_blocks(theirs)}): {_remedy(detector, own, theirs, arch)}"
        )
    if unused:
        problems.append(
            f"{len(unused)} tensors of the file are not used by the model, e.g. {unused[0]}: "
            f"{_remedy(detector, own, theirs, arch)}"
        )
    return problems


def _remedy(detector: Detector, own: Mapping[str, str], theirs: Collection[str], arch: Arch | None) -> str:
    """Say what makes the config fit the weights; own names the tensors with and without prefix."""
    bottlenecks = ["res2.0.conv3.weight" in names for names in (own, theirs)]
    if bottlenecks[0] != bottlenecks[1] and (
        detector.lazy or any("roi_heads.res5" in name for name in own.values())
    ):
        kind = "bottlenecks" if bottlenecks[1] else "blocks of two convolutions"
        return f"the weights have {kind}: use a YAML config of FPN or RetinaNet, which can take them"
    if arch and not detector.lazy:
        resnets = detector.cfg.MODEL.RESNETS
        wanted = {"RES2_OUT_CHANNELS": 256, "NUM_GROUPS": 1, "WIDTH_PER_GROUP": 64, **resnet_keys(arch)}
        if "GN" not in (wanted["NORM"], resnets.NORM):
            del wanted["NORM"]  # a trained BatchNorm has the same tensors
        keys = " ".join(f"MODEL.RESNETS.{key} {value}" for key, value in wanted.items() if resnets[key] != value)
        return f"the weights are a ResNet-{arch.depth}: set {keys}" if keys else "the file is not complete"
    depth = _depth(theirs)
    if depth and depth != _depth(own):
        return f"the weights are a ResNet-{depth}: set {_setting(detector, 'MODEL.RESNETS.DEPTH', depth)}"
    group = "norm, num_groups and width_per_group of {resnet}.stages" if detector.lazy else ""
    keys = _in_lazy(detector, group) or "MODEL.RESNETS.NORM, NUM_GROUPS and WIDTH_PER_GROUP"
    return f"{keys} must match the weights"


def _depth(names: Collection[str]) -> int | None:
    """Return the depth of the ResNet with these names of tensors, or None."""
    blocks, bottleneck = _blocks(names), "res2.0.conv3.weight" in names
    return next((d for d, counts in DEPTHS.items() if counts == blocks and (d >= 50) == bottleneck), None)


def _blocks(names: Collection[str]) -> tuple[int, ...]:
    return tuple(len({n.split(".")[1] for n in names if n.startswith(f"res{i}.")}) for i in (2, 3, 4, 5))


def _inputs(detector: Detector, provenance: dict[str, Any]) -> list[str]:
    """Check channel order, mean and standard deviation."""
    model, problems = detector.model, []
    formats = {"INPUT.FORMAT": model.input_format}
    if detector.lazy:
        loaders = detector.cfg.get("dataloader", {})
        formats |= {
            f"dataloader.{part}.mapper.image_format": loaders[part].mapper.image_format
            for part in loaders
            if "mapper" in loaders[part]
        }
    for key, value in formats.items():
        if value != provenance["format"]:
            problems.append(
                f"{_key(detector, key)} is {value}, but the weights need "
                f"{_setting(detector, key, provenance['format'])}"
            )
    for key, buffer in (("mean", model.pixel_mean), ("std", model.pixel_std)):
        ours, theirs = pixels(provenance[key]), [round(float(v), 3) for v in buffer.flatten()]
        if len(ours) != len(theirs) or not max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) <= 0.01:
            name = f"MODEL.PIXEL_{key.upper()}"
            problems.append(
                f"{_key(detector, name)} is {theirs}, but the weights need {_setting(detector, name, ours)}"
            )
    return problems


def _strides(detector: Detector, provenance: dict[str, Any]) -> list[str]:
    """Check where bottlenecks stride: in the 3x3 convolution (timm, torchvision) or in the 1x1 (MSRA)."""
    from detectron2.modeling.backbone.resnet import BottleneckBlock

    expected = provenance["stride_in_1x1"]
    wrong = [
        name
        for name, block in detector.model.named_modules()
        if isinstance(block, BottleneckBlock) and block.stride != 1 and (block.conv1.stride[0] != 1) != expected
    ]
    if not wrong:
        return []
    keys = {_setting(detector, "MODEL.RESNETS.STRIDE_IN_1X1", expected)}
    if detector.lazy:  # C4's res5 has a setting of its own
        backbone = any(name.startswith("backbone.") for name in wrong)
        head = any(name.startswith("roi_heads.") for name in wrong)
        keys = {*(keys if backbone else ()), *({f"model.roi_heads.res5.stride_in_1x1={expected}"} if head else ())}
    return [f"{', '.join(wrong)} stride in the wrong convolution: set {' '.join(sorted(keys))}"]


def _remarks(detector: Detector) -> list[str]:
    trained = [name for name, module in detector.model.backbone.named_modules() if isinstance(module, _BatchNorm)]
    if not trained:
        return []
    return [
        f"{len(trained)} BatchNorms of the backbone are trained, e.g. {trained[0]}, which lowers AP with few "
        "images per GPU; the rows of Table 11 use MODEL.RESNETS.NORM FrozenBN"
    ]
