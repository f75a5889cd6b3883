"""Export a trained backbone for timm, torchvision or ONNX Runtime.

The suffix of OUT decides: .safetensors or .pth for timm.create_model(..., checkpoint_path=OUT), where a ResNet's
names are those of torchvision; .onnx, compared with the network in ONNX Runtime before it is written.
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
        checkpoint: .pth of pretrain.train, or its run folder (then last.pth).
        out: file to write, .safetensors, .pth or .onnx.
        use: weights to export; auto takes the averaged ones where there are any.
    """

    checkpoint: str = positional()
    out: str = positional()
    use: WeightChoice = "auto"


main = command(ExportOptions, "pretrain.export_formats:export")

if __name__ == "__main__":
    sys.exit(main())
