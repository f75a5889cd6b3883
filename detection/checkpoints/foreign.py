"""Recognises other backbones for Detectron2: the model zoo's, and those of upstream's own converter."""

import re
from typing import Any, NamedTuple

import torch
from torch import Tensor

from detection.checkpoints.arch import ARCHS, expected_shapes
from imagesets.normalize import IMAGENET_MEAN, IMAGENET_STD

# Caffe2's names, e.g. conv1_w, res_conv1_bn_s, res2_0_branch2a_w, res2_0_branch1_bn_riv
_STEM = re.compile(r"(?:res_)?conv1_(?P<tail>.+)")
_BRANCH = re.compile(r"res(?P<stage>[2-5])_(?P<block>\d+)_branch(?P<branch>1|2[abc])_(?P<tail>.+)")
_CONVS = {"1": "shortcut", "2a": "conv1", "2b": "conv2", "2c": "conv3"}
_TAILS = {
    "w": "weight",
    **{f"{kind}_{tail}": "norm.weight" for kind in ("bn", "gn") for tail in ("s", "gamma")},
    **{f"{kind}_{tail}": "norm.bias" for kind in ("bn", "gn") for tail in ("b", "beta")},
    **{f"bn_{tail}": "norm.running_mean" for tail in ("rm", "running_mean")},
    **{f"bn_{tail}": "norm.running_var" for tail in ("riv", "running_var")},
}
# What Detectron2 leaves unused: the classifier, BatchNorm's step counters, and Caffe2's bias before a BatchNorm.
_UNUSED = re.compile(r"(.*\.)?num_batches_tracked|.*_momentum|(stem\.)?fc(1000)?[._].*|conv1_b")
MSRA_WEIGHTS = {f"resnet{depth}": f"detectron2://ImageNetPretrained/MSRA/R-{depth}.pkl" for depth in (50, 101)}
MSRA_INPUT: dict[str, Any] = {
    "format": "BGR",
    "mean": [103.53 / 255, 116.28 / 255, 123.675 / 255],
    "std": [1 / 255, 1 / 255, 1 / 255],
    "stride_in_1x1": True,
}


class Foreign(NamedTuple):
    """A backbone with Detectron2's names.

    Attributes:
        tensors: Detectron2's name -> tensor.
        provenance: architecture, channel order, mean, std and place of the stride; {} if its origin is unknown.
    """

    tensors: dict[str, Tensor]
    provenance: dict[str, Any]


def recognise(tensors: dict[str, Tensor], author: str) -> Foreign:
    """Rename Caffe2's tensors, leave out what Detectron2 does not use, and infer how the weights were trained.

    Args:
        tensors: tensors of a file, by their names there.
        author: ``__author__`` of the file, or "".

    Returns:
        The backbone; of other files, the same tensors without step counters and classifier.

    Source: detectron2/checkpoint/c2_model_loading.py and catalog.py;
    detectron2/tools/convert-torchvision-to-d2.py.
    """
    used = {name: tensor for name, tensor in tensors.items() if not _UNUSED.fullmatch(name)}
    if "conv1_w" in tensors:
        renamed = {from_caffe2(name): tensor for name, tensor in used.items()}
        if "res_conv1_bn_s" in tensors and not any("running_" in name for name in renamed):
            renamed |= _statistics(renamed)
        return Foreign(renamed, _msra(renamed))
    converted = author == "torchvision" and "stem.conv1.weight" in used
    return Foreign(used, _torchvision(used) if converted else {})


def from_caffe2(name: str) -> str:
    """Return Detectron2's name of a tensor of a Caffe2 ResNet; names that are not of one stay as they are.

    Example:
        >>> from_caffe2("res2_0_branch2a_bn_s")
        'res2.0.conv1.norm.weight'

    Source: detectron2/checkpoint/c2_model_loading.py.
    """
    if (match := _STEM.fullmatch(name)) and match["tail"] in _TAILS:
        return f"stem.conv1.{_TAILS[match['tail']]}"
    if (match := _BRANCH.fullmatch(name)) and match["tail"] in _TAILS:
        return f"res{match['stage']}.{match['block']}.{_CONVS[match['branch']]}.{_TAILS[match['tail']]}"
    return name


def _statistics(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the statistics that Detectron2's FrozenBN assumes where a file holds scale and bias alone."""
    scales = {
        name.removesuffix("weight"): scale for name, scale in tensors.items() if name.endswith("norm.weight")
    }
    means = {f"{name}running_mean": torch.zeros_like(scale) for name, scale in scales.items()}
    return means | {f"{name}running_var": torch.ones_like(scale) for name, scale in scales.items()}


def _msra(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Describe MSRA's R-50 and R-101; of other Caffe2 files, mean and stride are not determined."""
    name = _arch(tensors)
    if name not in MSRA_WEIGHTS:
        return {}
    return {"arch": name, "augment": "zoo", **MSRA_INPUT}


def _torchvision(tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Describe a file of Detectron2's own converter."""
    means = {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}
    return {"arch": _arch(tensors), "augment": "torchvision", "format": "RGB", "stride_in_1x1": False, **means}


def _arch(tensors: dict[str, Tensor]) -> str:
    """Return the name of the ResNet whose tensors these are, or ""."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    return next((name for name, arch in ARCHS.items() if expected_shapes(arch) == shapes), "")
