"""``python -m detection.check CONFIG WEIGHTS [KEY VALUE ...]``: is this backbone what this config expects?

Builds the detector on the CPU, loads the weights as train_net.py does, and says what Detectron2 only warns about
or does not notice: tensors that stay random, the other channel order, another mean, another stride. Exit code 0:
fits. 1: something is wrong, one line each with the override that mends it. 2: cannot be checked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UserError, guard

if TYPE_CHECKING:
    from detection.detectors.build import Built

PROG = "python -m detection.check"


@dataclass(frozen=True)
class CheckConfig:
    """Check weights against a Detectron2 config before GPU-hours are spent.

    Attributes:
        config_file: YAML file of train_net.py, or LazyConfig .py of lazyconfig_train_net.py.
        weights: the converted backbone, .pth or .pkl.
    """

    config_file: str
    weights: str


def check(config: Path, weights: Path, options: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Compare a detector with the backbone it is to start from.

    Args:
        config: YAML file or LazyConfig.
        weights: .pth or .pkl.
        options: overrides, as train_net.py takes them.

    Returns:
        Problems, and remarks that are none.

    Raises:
        UserError: no such file, a config that Detectron2 cannot build, or one without Detectron2's ResNet.

    Source: detectron2/modeling; what goes wrong is in README.md.
    """
    from detection.checkpoints.write import read
    from detection.detectors.build import build, load_weights, resnet_tensors

    held, made = read(weights)
    if "conv1.weight" in held or any(".conv1.weight" in name and "layer1." in name for name in held):
        raise UserError(f"{weights} has timm's names, nothing of it would match: tools/convert_to_d2.py first")
    built = build(config, options)
    if not resnet_tensors(built.model.state_dict()):
        raise UserError(f"{config} has no ResNet of Detectron2: TimmBackbone checks the weights it loads itself")
    if not hasattr(built.model, "input_format"):
        raise UserError(f"{config}: {type(built.model).__name__} has no channel order and mean to check")
    load_weights(built.model, weights)
    problems = _tensors(built.model, weights)
    remarks = _remarks(built)
    if made:
        problems += _inputs(built, made) + _strides(built, made)
    else:
        remarks.append(
            "the file does not say where it comes from, so channel order, mean and stride are unchecked"
        )
    return problems, remarks


def _tensors(model: Any, weights: Path) -> list[str]:
    """What the backbone did not get, what of the file found no place."""
    from detection.detectors.build import held_by, homeless, resnet_tensors, unfilled

    total, held = len(resnet_tensors(model.state_dict())), held_by(weights)
    missing, extra = unfilled(model, weights), homeless(model, weights)
    depth = _blocks(held)
    found = []
    if missing:
        found.append(
            f"{len(missing)} of {total} backbone tensors stay random, e.g. {missing[0]}: MODEL.RESNETS.DEPTH, "
            f"NORM, NUM_GROUPS and WIDTH_PER_GROUP must be those of the weights (blocks a stage: {depth})"
        )
    if extra:
        found.append(f"{len(extra)} tensors of the file have no place in the model, e.g. {extra[0]}")
    return found


def _blocks(names: Any) -> tuple[int, ...]:
    return tuple(len({n.split(".")[1] for n in names if n.startswith(f"res{i}.")}) for i in (2, 3, 4, 5))


def _inputs(built: Built, made: dict[str, Any]) -> list[str]:
    """Channel order, mean and standard deviation."""
    from detection.checkpoints.write import pixels

    model, found = built.model, []
    formats = {"INPUT.FORMAT": model.input_format}
    if built.lazy:
        loaders = built.cfg.get("dataloader", {})
        formats |= {
            f"dataloader.{part}.mapper.image_format": loaders[part].mapper.image_format
            for part in loaders
            if "mapper" in loaders[part]
        }
    for key, value in formats.items():
        if value != made["format"]:
            found.append(f"{key} is {value}, the weights want {made['format']}: {key} {made['format']}")
    for key, buffer in (("mean", model.pixel_mean), ("std", model.pixel_std)):
        ours, theirs = pixels(made[key]), [round(float(v), 3) for v in buffer.flatten()]
        if len(ours) != len(theirs) or not max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) <= 0.01:
            name = f"MODEL.PIXEL_{key.upper()}"
            found.append(f"{name} is {theirs}, the weights want {ours}: {name} {str(ours).replace(' ', '')}")
    return found


def _strides(built: Built, made: dict[str, Any]) -> list[str]:
    """Where bottlenecks stride: in the 3x3 convolution in timm and torchvision, in the 1x1 in MSRA's."""
    from detectron2.modeling.backbone.resnet import BottleneckBlock

    wrong = [
        name
        for name, block in built.model.named_modules()
        if isinstance(block, BottleneckBlock)
        and block.stride != 1
        and (block.conv1.stride[0] != 1) != made["stride_in_1x1"]
    ]
    if not wrong:
        return []
    key = (
        "stride_in_1x1=False, in the backbone and in roi_heads.res5"
        if built.lazy
        else "MODEL.RESNETS.STRIDE_IN_1X1 False"
    )
    return [f"{', '.join(wrong)} stride in the wrong convolution: {key}"]


def _remarks(built: Built) -> list[str]:
    from torch.nn.modules.batchnorm import _BatchNorm

    trained = [name for name, each in built.model.backbone.named_modules() if isinstance(each, _BatchNorm)]
    if not trained:
        return []
    return [
        f"{len(trained)} BatchNorms of the backbone are trained, e.g. {trained[0]}: with a few images a GPU that "
        "costs AP; the rows of Table 11 have MODEL.RESNETS.NORM FrozenBN"
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and check; returns the exit code."""

    def command() -> int:
        from detection.options import split_options
        from engine.command import parse, with_positional

        ours, options = split_options(argv, positional=2)
        ours = with_positional(ours, "config_file", "weights")
        asked = parse(CheckConfig, ours, prog=PROG, description=str(__doc__))
        return report(*check(Path(asked.config_file), Path(asked.weights), options))

    return guard(command)


def report(problems: Sequence[str], remarks: Sequence[str]) -> int:
    """Print what :func:`check` found.

    Returns:
        The exit code: 1 where there is a problem.
    """
    for remark in remarks:
        print(f"remark: {remark}")
    for problem in problems:
        print(f"WRONG: {problem}")
    if not problems:
        print("fits: every backbone tensor is filled from the file")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
