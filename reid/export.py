"""Export the embedding network to ONNX, compared with torch in ONNX Runtime before it is written.

Input ``images``: float32 B x 3 x H x W, normalised with ImageNet's mean and standard deviation. Output
``features``: B x D, rows of length 1.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional


@dataclass(frozen=True)
class ExportOptions:
    """Export a re-identification network.

    Attributes:
        checkpoint: .pth of reid.train, or its run folder (then last.pth).
        out: .onnx file to write.
    """

    checkpoint: str = positional()
    out: str = positional()


main = command(ExportOptions, "reid.onnx_export:export")

if __name__ == "__main__":
    sys.exit(main())
