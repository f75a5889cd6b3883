"""Export the embedding network to an ONNX file."""

import json
from pathlib import Path

from torch import Tensor, nn

from engine.errors import UserError
from engine.files import check_targets
from engine.onnx import checked_onnx
from reid.export import ExportOptions
from reid.load_run import load_trained
from reid.model import ReidModel

LARGEST_DIFFERENCE = 1e-4  # features have length 1


class EmbeddingNetwork(nn.Module):
    """Map images to features of length 1."""

    def __init__(self, network: ReidModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return features_BD."""
        return self.network.embed(images)


def export(options: ExportOptions) -> Path:
    """Write the file and print its path.

    Returns:
        Path of the file.

    Raises:
        UserError: wrong suffix, not a checkpoint of reid.train, ONNX not installed, or outputs that differ.

    Source: torch.onnx.
    """
    out = Path(options.out)
    if out.suffix != ".onnx":
        raise UserError(f"out: {out.name} must end in .onnx")
    check_targets(options.out, inputs=(options.checkpoint,))
    trained = load_trained(options.checkpoint)
    data, content = trained.config.data, trained.content
    checked_onnx(
        EmbeddingNetwork(trained.model).eval(),
        (3, data.height, data.width),
        out,
        output="features",
        about={
            "arch": str(content["arch"]),
            "epoch": str(content["epoch"]),
            "input": json.dumps(json.loads(content["input"])),
        },
        largest_difference=LARGEST_DIFFERENCE,
    )
    print(out)
    return out
