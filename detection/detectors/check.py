"""Checks that a backbone matches a detector's config, for ``python -m detection.check``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from detection.check import CheckOptions
from detection.checkpoints.write import pixels, read
from detection.detectors.build import (
    Detector,
    backbone_tensors,
    build,
    load_weights,
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
    paths = [
        Path(path) if path else words and Path(words.pop(0)) for path in (options.config_file, options.weights)
    ]
    if not all(paths):
        raise UserError("give a config and the converted weights: python -m detection.check CONFIG WEIGHTS")
    check_overrides(words)
    return check(paths[0], paths[1], words).show()


def check(config: Path, weights: Path, overrides: Sequence[str] = ()) -> CheckResult:
    """Compare a detector's config with the backbone from which it will be trained.

    Args:
        config: YAML file or LazyConfig .py.
        weights: .pth or .pkl file.
        overrides: overrides in the format of train_net.py.

    Raises:
        UserError: a file is missing, Detectron2 cannot build the config, or the model lacks Detectron2's ResNet.

    Source: detectron2/modeling; README.md lists the possible problems.
    """
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
    problems = _tensors(detector.model, load_weights(detector.model, weights))
    remarks = _remarks(detector)
    if provenance:
        problems += _inputs(detector, provenance) + _strides(detector, provenance)
    else:
        remarks.append("the file does not record its origin, so channel order, mean and stride are not checked")
    return CheckResult(problems, remarks)


def _tensors(model: Any, tensors: dict[str, Tensor]) -> list[str]:
    """Report backbone tensors that were not filled, and tensors of the file that were not used."""
    total, depth = len(resnet_tensors(model.state_dict())), _blocks(backbone_tensors(tensors))
    missing, unused = missing_tensors(model, tensors), unused_tensors(model, tensors)
    problems = []
    if missing:
        problems.append(
            f"{len(missing)} of {total} backbone tensors stay random, e.g. {missing[0]}: MODEL.RESNETS.DEPTH, "
            f"NORM, NUM_GROUPS and WIDTH_PER_GROUP must match the weights (blocks per stage: {depth})"
        )
    if unused:
        problems.append(f"{len(unused)} tensors of the file are not used by the model, e.g. {unused[0]}")
    return problems


def _blocks(names: Any) -> tuple[int, ...]:
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
            problems.append(f"{key} is {value}, but the weights need {key} {provenance['format']}")
    for key, buffer in (("mean", model.pixel_mean), ("std", model.pixel_std)):
        ours, theirs = pixels(provenance[key]), [round(float(v), 3) for v in buffer.flatten()]
        if len(ours) != len(theirs) or not max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) <= 0.01:
            name = f"MODEL.PIXEL_{key.upper()}"
            problems.append(f"{name} is {theirs}, but the weights need {name} {str(ours).replace(' ', '')}")
    return problems


def _strides(detector: Detector, provenance: dict[str, Any]) -> list[str]:
    """Check where bottlenecks stride: in the 3x3 convolution (timm, torchvision) or in the 1x1 (MSRA)."""
    from detectron2.modeling.backbone.resnet import BottleneckBlock

    wrong = [
        name
        for name, block in detector.model.named_modules()
        if isinstance(block, BottleneckBlock)
        and block.stride != 1
        and (block.conv1.stride[0] != 1) != provenance["stride_in_1x1"]
    ]
    if not wrong:
        return []
    key = (
        "stride_in_1x1=False, in the backbone and in roi_heads.res5"
        if detector.lazy
        else "MODEL.RESNETS.STRIDE_IN_1X1 False"
    )
    return [f"{', '.join(wrong)} stride in the wrong convolution: set {key}"]


def _remarks(detector: Detector) -> list[str]:
    trained = [name for name, module in detector.model.backbone.named_modules() if isinstance(module, _BatchNorm)]
    if not trained:
        return []
    return [
        f"{len(trained)} BatchNorms of the backbone are trained, e.g. {trained[0]}, which lowers AP with few "
        "images per GPU; the rows of Table 11 use MODEL.RESNETS.NORM FrozenBN"
    ]
