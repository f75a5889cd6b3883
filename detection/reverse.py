"""``python -m detection.reverse D2_CHECKPOINT OUT.{pth,safetensors}``: a detector's backbone back to timm's names.

Takes what tools/convert_to_d2.py wrote and what train_net.py leaves behind (C4, FPN, RetinaNet). torchvision has
the same names, so the result loads there too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UserError, guard

if TYPE_CHECKING:
    from torch import Tensor

PROG = "python -m detection.reverse"


@dataclass(frozen=True)
class ReverseConfig:
    """Take a detector's backbone back to timm and torchvision.

    Attributes:
        checkpoint: converted file, model_final.pth of train_net.py, or a .pkl in Detectron2's names.
        out: the file; .pth (arch, state_dict, input) or .safetensors.
        config_file: the detector's config.yaml; "" looks beside the checkpoint.
    """

    checkpoint: str
    out: str
    config_file: str = ""


def backbone(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a backbone's tensors from Detectron2's names to timm's.

    Args:
        state: of a converted file (no prefix), or of a detector: C4, FPN or RetinaNet.

    Returns:
        timm names -> the same tensors. Without BatchNorm's step counters, which Detectron2 does not keep; torch
        fills them in on loading.

    Raises:
        UserError: no ResNet among the names, or not the whole of it.

    Source: the inverse of :func:`detection.checkpoints.convert.convert`.
    """
    from detection.checkpoints.arch import expected_shapes
    from detection.checkpoints.convert import infer
    from detection.checkpoints.names import to_timm
    from detection.detectors.build import resnet_tensors

    homes = resnet_tensors(state) or {name: name for name in state}
    foreign = [short for short in homes if to_timm(short) is None]
    if foreign and "stem.conv1.weight" in homes:
        raise UserError(f"{foreign[0]} has no place in timm's ResNet ({len(foreign)} such tensors)")
    renamed = {new: state[full] for short, full in homes.items() if (new := to_timm(short))}
    if "conv1.weight" not in renamed:
        raise UserError(f"no stem.conv1.weight, so no ResNet of Detectron2; names begin: {sorted(state)[:3]}")
    arch = infer(renamed)
    for short, shape in expected_shapes(arch).items():
        new = to_timm(short)
        if new not in renamed or tuple(renamed[new].shape) != shape:
            raise UserError(f"{short} is missing or no tensor of {shape}: not a whole ResNet-{arch.depth}")
    return renamed


def reverse(config: ReverseConfig) -> Path:
    """Write the backbone of a Detectron2 file.

    Args:
        config: of the command.

    Returns:
        The file.

    Raises:
        UserError: no backbone in it, or one that timm cannot express (stride in the 1x1 convolution).
    """
    from detection.checkpoints.arch import ARCHS
    from detection.checkpoints.convert import infer
    from detection.checkpoints.write import read

    source, out = Path(config.checkpoint), Path(config.out)
    if out.suffix not in (".pth", ".safetensors"):
        raise UserError(f"out: {out.name} must end in .pth or .safetensors")
    if source.exists() and out.exists() and source.samefile(out):
        raise UserError(f"out: {out} is the checkpoint itself: give another file")
    tensors, made = read(source)
    state = backbone(tensors)
    arch = infer(state)
    told = made or _settings(source, config.config_file)
    if told["stride_in_1x1"] and arch.bottleneck:
        raise UserError(f"{source} strides in its 1x1 convolutions (STRIDE_IN_1X1 True): timm's ResNet cannot")
    if (
        told["format"] == "BGR"
    ):  # the network then reads what it was trained on: mean and std turn with the channels
        state["conv1.weight"] = state["conv1.weight"].flip(1)
    name = made.get("arch") or next((each for each, known in ARCHS.items() if known == arch), "")
    normalisation = {key: list(told[key])[:: -1 if told["format"] == "BGR" else 1] for key in ("mean", "std")}
    text = {"arch": name, "input": json.dumps(normalisation), "source": source.name}
    _write(state, text, out)
    print(f"{source}: {name or arch}, {len(state)} tensors -> {out}")
    return out


def _settings(source: Path, given: str) -> dict[str, Any]:
    """Read channel order, mean, std and stride from the detector's config."""
    from detection.table11.settings import input_of, read_config

    path = Path(given) if given else source.parent / "config.yaml"
    if not path.is_file():
        raise UserError(f"config_file: no {path}, so channel order, mean and stride are unknown: give config.yaml")
    return input_of(read_config(path), path)


def _write(state: dict[str, Tensor], text: dict[str, str], out: Path) -> None:
    from engine import checkpoint

    if out.suffix == ".pth":
        checkpoint.save({**text, "state_dict": state}, out)
        return
    from safetensors.torch import save

    with checkpoint.replacing(out) as file:
        file.write(save({k: v.contiguous() for k, v in state.items()}, {**text, "format": "pt"}))


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and convert back; returns the exit code."""

    def command() -> None:
        from engine.command import parse, with_positional

        arguments = with_positional(argv, "checkpoint", "out")
        reverse(parse(ReverseConfig, arguments, prog=PROG, description=str(__doc__)))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
