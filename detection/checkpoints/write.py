"""Reads and writes weight files of Detectron2, and lists the config keys that they need."""

import json
import pickle
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from detection.checkpoints.arch import Arch
from detection.checkpoints.foreign import recognise
from detection.table11.launch import train_net
from detection.table11.rows import CONFIGS, ROWS
from engine import checkpoint
from engine.errors import UserError
from engine.files import replacing
from imagesets.normalize import IMAGENET_MEAN, IMAGENET_STD
from networks.pickles import read_pickle

SUFFIXES = (".pth", ".pkl")
PROVENANCE = "keepaugment"


def write(converted: dict[str, Tensor], path: Path, provenance: dict[str, Any]) -> None:
    """Write a backbone that ``DetectionCheckpointer`` loads; a failure leaves no partial file.

    Args:
        converted: from :func:`detection.checkpoints.convert.convert`.
        path: file to write: .pth (tensors only, the default) or .pkl (NumPy arrays, the model zoo's format).
        provenance: plain values, stored in the file as JSON; Detectron2 ignores them.

    Raises:
        UserError: the suffix is unknown, or the file cannot be written.

    Source: detectron2/checkpoint/detection_checkpoint.py.
    """
    check_suffix(path)
    content: dict[str, Any] = {"model": converted, "__author__": "KeepAugment", "matching_heuristics": True}
    content[PROVENANCE] = json.dumps(provenance)
    if path.suffix == ".pth":
        checkpoint.save(content, path)
        return
    content["model"] = {name: tensor.numpy() for name, tensor in converted.items()}
    with replacing(path) as file:
        pickle.dump(content, file, protocol=4)


def check_suffix(path: Path) -> None:
    """Check the suffix of an output file.

    Raises:
        UserError: the suffix is not .pth or .pkl.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: the output must end in {' or '.join(SUFFIXES)}")


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a converted file, one of the model zoo or of upstream's converter, or a checkpoint of train_net.py.

    Args:
        path: file to read, .pth or .pkl.

    Returns:
        Detectron2's names -> tensors without step counters and classifier (``linear.*`` stays), and the provenance
        that this package's converter stored in the file, or that :func:`recognise` infers, or {}.

    Raises:
        UserError: the file is missing or damaged, or is not a Detectron2 file.

    Source: detectron2/checkpoint/detection_checkpoint.py.
    """
    if not path.is_file():
        raise UserError(f"{path} not found")
    content = read_pickle(path) if path.suffix == ".pkl" else checkpoint.load(path)
    model = content.get("model", content.get("blobs", content))
    model = model if isinstance(model, dict) else {}
    tensors = {name: value for name, value in model.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise UserError(
            f"{path} is not a Detectron2 file (its top level holds {', '.join(sorted(map(str, content))[:8])}): "
            "convert it with tools/convert_to_d2.py first"
        )
    known = recognise(tensors, str(content.get("__author__", "")))
    return known.tensors, json.loads(content.get(PROVENANCE, "{}")) or known.provenance


def resnet_keys(arch: Arch) -> dict[str, Any]:
    """Return the keys under MODEL.RESNETS that an architecture needs.

    Source: detectron2/config/defaults.py.
    """
    keys: dict[str, Any] = {"DEPTH": arch.depth, "STRIDE_IN_1X1": False}
    keys["NORM"] = "GN" if arch.norm == "GN" else "FrozenBN"
    if not arch.bottleneck:
        keys["RES2_OUT_CHANNELS"] = 64
    if (arch.groups, arch.width) != (1, 64):
        keys |= {"NUM_GROUPS": arch.groups, "WIDTH_PER_GROUP": arch.width}
    return keys


def config_keys(arch: Arch, weights: Path, mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    """Return the config keys that these weights need.

    Args:
        arch: architecture of the network.
        weights: path of the converted file.
        mean: mean of the normalisation, for values in [0, 1].
        std: standard deviation, likewise.

    Returns:
        Nested dict for ``CfgNode``; if a key is omitted, Detectron2 trains a poor detector without an error.

    Source: detectron2/config/defaults.py.
    """
    return {
        "INPUT": {"FORMAT": "RGB"},
        "MODEL": {
            "WEIGHTS": str(weights.resolve()),
            "PIXEL_MEAN": pixels(mean),
            "PIXEL_STD": pixels(std),
            "RESNETS": resnet_keys(arch),
        },
    }


def input_options(provenance: Mapping[str, Any]) -> list[str]:
    """Return the overrides for ``train_net.py`` that give a detector the input of its backbone.

    Args:
        provenance: format, mean, std and stride_in_1x1 of the weights.

    Source: detectron2/config/defaults.py.
    """
    keys = {
        "INPUT.FORMAT": provenance["format"],
        "MODEL.PIXEL_MEAN": pixels(provenance["mean"]),
        "MODEL.PIXEL_STD": pixels(provenance["std"]),
        "MODEL.RESNETS.STRIDE_IN_1X1": provenance["stride_in_1x1"],
    }
    return [word for key, value in keys.items() for word in (key, str(value).replace(" ", ""))]


def pixels(values: Sequence[float]) -> list[float]:
    """Scale a mean or standard deviation for values in [0, 1] to 0..255, as in PIXEL_MEAN and PIXEL_STD."""
    return [round(255 * value, 3) for value in values]


def train_command(arch: Arch, weights: Path, mean: Sequence[float], std: Sequence[float]) -> str:
    """Return the command that trains Faster R-CNN with FPN on these weights.

    Args:
        arch: architecture of the network.
        weights: path of the converted file.
        mean: mean of the normalisation, for values in [0, 1].
        std: standard deviation, likewise.

    Returns:
        One shell line, with overrides for the keys in which the weights differ from the config.

    Source: detectron2/tools/train_net.py.
    """
    row = ROWS["fpn_r101" if arch.depth > 50 else "fpn_r50"]
    has = {"DEPTH": row.depth, "STRIDE_IN_1X1": False, "NORM": "FrozenBN"}
    more: dict[str, Any] = {"MODEL.WEIGHTS": weights.resolve()}
    more |= {f"MODEL.RESNETS.{k}": v for k, v in resnet_keys(arch).items() if has.get(k) != v}
    for key, values, default in (("PIXEL_MEAN", mean, IMAGENET_MEAN), ("PIXEL_STD", std, IMAGENET_STD)):
        if tuple(values) != default:
            more[f"MODEL.{key}"] = str(pixels(values)).replace(" ", "")
    try:
        script = str(train_net())
    except UserError:
        script = "train_net.py"
    words = ["python", script, "--num-gpus", 8, "--config-file", CONFIGS / row.path.name]
    return shlex.join(map(str, [*words, *(word for item in more.items() for word in item)]))
