"""Export a trained backbone for timm, torchvision or ONNX Runtime.

The suffix of OUT selects the format: .safetensors or .pth for timm.create_model(..., checkpoint_path=OUT), with
torchvision's weight names for a ResNet, or .onnx, compared with the network in ONNX Runtime before it is written.
Without a suffix, OUT is a folder for timm.create_model("local-dir:OUT"), with class names, normalisation and crop.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.config import WeightChoice
from engine.parser import positional


@dataclass(frozen=True)
class ExportOptions:
    """Export a trained backbone.

    Attributes:
        checkpoint: .pth file written by pretrain.train, or a run folder (its last.pth).
        out: file to write, whose suffix (.safetensors, .pth or .onnx) selects the format, or a folder.
        use: weights to export; auto uses the averaged ones if there are any.
    """

    checkpoint: str = positional()
    out: str = positional()
    use: WeightChoice = "auto"


main = command(ExportOptions, "pretrain.export_files:export")

if __name__ == "__main__":
    sys.exit(main())
