"""``python -m reid.export RUN OUT.onnx``: the embedding network for ONNX Runtime, checked against torch.

Input ``images``: float32 B x 3 x H x W, normalised with ImageNet's mean and standard deviation. Output
``features``: B x D, rows of length 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import UserError, guard

PROG = "python -m reid.export"
LARGEST_DIFFERENCE = 1e-4  # features have length 1


@dataclass(frozen=True)
class ExportConfig:
    """Export a re-identification network.

    Attributes:
        checkpoint: a .pth of reid.train, or its run folder.
        out: the file, .onnx.
    """

    checkpoint: str
    out: str


def export(config: ExportConfig) -> Path:
    """Write the file.

    Args:
        config: of the command.

    Returns:
        The file.

    Raises:
        UserError: another suffix, no checkpoint of reid.train, ONNX not installed or not equal to torch.

    Source: torch.onnx.
    """
    import torch

    from engine.checkpoint import check_targets
    from engine.onnx import checked_onnx
    from reid.trained import load_trained

    out = Path(config.out)
    if out.suffix != ".onnx":
        raise UserError(f"out: {out.name} must end in .onnx")
    check_targets(config.out, inputs=(config.checkpoint,))
    trained = load_trained(config.checkpoint)
    data = trained.config.data

    class Embedding(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = trained.model

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.network.embed(images)

    about = {
        "arch": str(trained.content["arch"]),
        "epoch": str(trained.content["epoch"]),
        "input": json.dumps(json.loads(trained.content["input"])),
    }
    checked_onnx(
        Embedding().eval(),
        (3, data.height, data.width),
        out,
        output="features",
        about=about,
        largest_difference=LARGEST_DIFFERENCE,
    )
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and export; returns the exit code."""

    def command() -> None:
        from engine.command import parse, with_positional

        arguments = with_positional(argv, "checkpoint", "out")
        print(export(parse(ExportConfig, arguments, prog=PROG, description=str(__doc__))))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
