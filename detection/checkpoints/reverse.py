"""Converts a detector's backbone back to timm's names, for ``python -m detection.reverse``."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save as save_safetensors
from torch import Tensor

from detection.checkpoints.arch import ARCHS, expected_shapes
from detection.checkpoints.convert import infer
from detection.checkpoints.names import to_timm
from detection.checkpoints.write import read
from detection.detectors.build import resnet_tensors
from detection.reverse import ReverseOptions
from detection.table11.settings import input_of, read_config
from engine import checkpoint
from engine.errors import UserError
from engine.files import replacing


def backbone(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a backbone's tensors from Detectron2's names to timm's.

    Args:
        state: tensors of a converted file (no prefix) or of a detector (C4, FPN or RetinaNet).

    Returns:
        timm names -> the same tensors, without BatchNorm's step counters, which Detectron2 does not keep and
        torch fills in on loading.

    Raises:
        UserError: the names are not those of a ResNet, or the ResNet is incomplete.

    Source: the inverse of :func:`detection.checkpoints.convert.convert`.
    """
    homes = resnet_tensors(state) or {name: name for name in state}
    foreign = [short for short in homes if to_timm(short) is None]
    if foreign and "stem.conv1.weight" in homes:
        raise UserError(f"{foreign[0]} has no counterpart in timm's ResNet ({len(foreign)} such tensors)")
    renamed = {new: state[full] for short, full in homes.items() if (new := to_timm(short))}
    if "conv1.weight" not in renamed:
        raise UserError(
            f"not a ResNet of Detectron2: there is no stem.conv1.weight; the first names are {sorted(state)[:3]}"
        )
    arch = infer(renamed)
    for short, shape in expected_shapes(arch).items():
        new = to_timm(short)
        if new not in renamed or tuple(renamed[new].shape) != shape:
            raise UserError(f"{short} is missing or is not of shape {shape}: incomplete ResNet-{arch.depth}")
    return renamed


def reverse(options: ReverseOptions) -> Path:
    """Write the backbone of a Detectron2 file with timm's names.

    Returns:
        Path of the written file.

    Raises:
        UserError: the file has no backbone, or one that timm cannot express (stride in the 1x1 convolution).
    """
    source, out = Path(options.checkpoint), Path(options.out)
    if out.suffix not in (".pth", ".safetensors"):
        raise UserError(f"out: {out.name} must end in .pth or .safetensors")
    if source.exists() and out.exists() and source.samefile(out):
        raise UserError(f"out: {out} is the checkpoint itself: give another file")
    tensors, provenance = read(source)
    state = backbone(tensors)
    arch = infer(state)
    settings = provenance or _settings(source, options.config_file)
    if settings["stride_in_1x1"] and arch.bottleneck:
        raise UserError(f"{source} strides in its 1x1 convolutions (STRIDE_IN_1X1 True), unlike timm's ResNet")
    if settings["format"] == "BGR":  # reverse the input channels for RGB images; mean and std are reversed too
        state["conv1.weight"] = state["conv1.weight"].flip(1)
    name = provenance.get("arch") or next((name for name, other in ARCHS.items() if other == arch), "")
    normalisation = {
        key: list(settings[key])[:: -1 if settings["format"] == "BGR" else 1] for key in ("mean", "std")
    }
    text = {"arch": name, "input": json.dumps(normalisation), "source": source.name}
    _write(state, text, out)
    print(f"{source}: {name or arch}, {len(state)} tensors -> {out}")
    return out


def _settings(source: Path, config_file: str) -> dict[str, Any]:
    """Read channel order, mean, std and stride from the detector's config."""
    path = Path(config_file) if config_file else source.parent / "config.yaml"
    if not path.is_file():
        raise UserError(f"config_file: {path} not found: give the config.yaml with channel order, mean and stride")
    return input_of(read_config(path), path)


def _write(state: dict[str, Tensor], text: dict[str, str], out: Path) -> None:
    if out.suffix == ".pth":
        checkpoint.save({**text, "state_dict": state}, out)
        return
    with replacing(out) as file:
        file.write(save_safetensors({k: v.contiguous() for k, v in state.items()}, {**text, "format": "pt"}))
