"""The output file, and what to put into a Detectron2 config beside it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from detection.arch import Arch
from keepcore.run import checkpoint
from keepcore.run.errors import UserError

SUFFIXES = (".pth", ".pkl")
PROVENANCE = "keepaugment"


def write(converted: dict[str, Tensor], path: Path, provenance: dict[str, Any]) -> None:
    """Write a backbone that ``DetectionCheckpointer`` loads; never a partial file.

    Args:
        converted: from :func:`detection.convert.convert`.
        path: .pth (tensors only, the default form) or .pkl (NumPy arrays, the model zoo's form).
        provenance: plain values, kept inside the .pth as JSON.

    Raises:
        UserError: another suffix, or the file cannot be written.

    Source: detectron2/checkpoint/detection_checkpoint.py.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: the output must end in {' or '.join(SUFFIXES)}")
    content: dict[str, Any] = {"model": converted, "__author__": "KeepAugment", "matching_heuristics": True}
    if path.suffix == ".pth":
        checkpoint.save({**content, PROVENANCE: json.dumps(provenance)}, path)
        return
    content["model"] = {name: tensor.numpy() for name, tensor in converted.items()}
    with checkpoint.replacing(path) as file:
        pickle.dump(content, file, protocol=4)


def config_keys(arch: Arch, weights: Path, mean: Sequence[float], std: Sequence[float]) -> dict[str, Any]:
    """Give the config keys that these weights need, in Detectron2's terms.

    Args:
        arch: the network.
        weights: the converted file.
        mean: of the normalisation, of values in [0, 1].
        std: the same.

    Returns:
        Nested dict for ``CfgNode``; a forgotten key is no error in Detectron2, only a bad detector.

    Source: detectron2/config/defaults.py.
    """
    resnets: dict[str, Any] = {"DEPTH": arch.depth, "STRIDE_IN_1X1": False}
    resnets["NORM"] = "GN" if arch.norm == "GN" else "FrozenBN"
    if not arch.bottleneck:
        resnets["RES2_OUT_CHANNELS"] = 64
    if (arch.groups, arch.width) != (1, 64):
        resnets |= {"NUM_GROUPS": arch.groups, "WIDTH_PER_GROUP": arch.width}
    return {
        "INPUT": {"FORMAT": "RGB"},
        "MODEL": {
            "WEIGHTS": str(weights.resolve()),
            "PIXEL_MEAN": [round(255 * value, 3) for value in mean],
            "PIXEL_STD": [round(255 * value, 3) for value in std],
            "RESNETS": resnets,
        },
    }
