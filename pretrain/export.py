"""``python -m pretrain.export RUN OUT.safetensors``: weights for timm or torchvision with provenance; or ONNX.

The suffix decides: ``.safetensors`` or ``.pth`` for timm.create_model(..., checkpoint_path=OUT), where a ResNet's
names are those of torchvision; ``.onnx``, checked against the network with ONNX Runtime.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import UserError, guard

if TYPE_CHECKING:
    from pretrain.trained import Trained

PROG = "python -m pretrain.export"
LARGEST_DIFFERENCE = 1e-3  # ONNX Runtime against torch, relative to the largest logit


@dataclass(frozen=True)
class ExportConfig:
    """Export a trained backbone.

    Attributes:
        checkpoint: a .pth of pretrain.train, or its run folder.
        out: the file; its suffix is the format.
        use: auto (averaged weights where there are any), ema or raw.
    """

    checkpoint: str
    out: str
    use: str = "auto"


def describe(trained: Trained) -> dict[str, str]:
    """Collect where weights come from, as plain strings.

    Args:
        trained: network and checkpoint.

    Returns:
        arch, num_classes, options, input (mean, std, size), classes, epoch, metrics, recipe, provenance, format.
    """
    names = ("arch", "num_classes", "options", "input", "classes", "epoch", "metrics", "config", "provenance")
    told = {name: str(trained.content.get(name, "")) for name in names}
    told["dataset"] = trained.config.data.dataset
    return {**told, "recipe": told.pop("config"), "format": "pt"}


def export(config: ExportConfig) -> Path:
    """Write the file.

    Args:
        config: of the command.

    Returns:
        The file.

    Raises:
        UserError: unknown suffix, no checkpoint of pretrain.train, ONNX not installed or not equal.
    """
    from pretrain.trained import load_trained

    out = Path(config.out)
    if out.suffix not in WRITERS:
        raise UserError(f"out: {out.name} must end in one of {', '.join(WRITERS)}")
    WRITERS[out.suffix](load_trained(config.checkpoint, config.use), out)
    return out


def _safetensors(trained: Trained, out: Path) -> None:
    from safetensors.torch import save

    from engine.checkpoint import replacing

    state = {name: value.contiguous() for name, value in trained.model.state_dict().items()}
    with replacing(out) as file:
        file.write(save(state, metadata=describe(trained)))


def _pth(trained: Trained, out: Path) -> None:
    from engine.checkpoint import save

    save({**describe(trained), "state_dict": trained.model.state_dict()}, out)


def _onnx(trained: Trained, out: Path) -> None:
    from engine.onnx import checked_onnx

    side = json.loads(trained.content["input"])["size"]
    checked_onnx(
        trained.model,
        (3, side, side),
        out,
        output="logits",
        about=describe(trained),
        largest_difference=LARGEST_DIFFERENCE,
    )


WRITERS: dict[str, Callable[[Trained, Path], None]] = {".safetensors": _safetensors, ".pth": _pth, ".onnx": _onnx}


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and export; returns the exit code."""

    def command() -> None:
        from engine.command import parse, with_positional

        arguments = with_positional(argv, "checkpoint", "out")
        print(export(parse(ExportConfig, arguments, prog=PROG, description=str(__doc__))))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
