"""Export the embedding network to ONNX, after comparing ONNX Runtime with torch.

The input ``images`` is float32 B x 3 x H x W, normalised with ImageNet's mean and standard deviation. The output
``features`` is B x D with rows of length 1.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional


@dataclass(frozen=True)
class ExportOptions:
    """Export a re-identification network to ONNX.

    Attributes:
        checkpoint: .pth of reid.train, or its run folder (uses last.pth).
        out: .onnx file to write.
    """

    checkpoint: str = positional()
    out: str = positional()


main = command(ExportOptions, "reid.export_onnx:export")

if __name__ == "__main__":
    sys.exit(main())
