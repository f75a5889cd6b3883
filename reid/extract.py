"""Extract the features of any folder of cropped people into an .npz."""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional
from reid.config import Embedding


@dataclass(frozen=True)
class ExtractOptions(Embedding):
    """Embed the photographs of a folder.

    Attributes:
        checkpoint: .pth of reid.train, or its run folder (then last.pth).
        folder: folder of cropped people, searched for images at any depth.
        out: .npz to write; holds features (N x D, rows of length 1) and paths.
    """

    checkpoint: str = positional()
    folder: str = positional()
    out: str = positional()


main = command(ExtractOptions, "reid.extraction:extract")

if __name__ == "__main__":
    sys.exit(main())
