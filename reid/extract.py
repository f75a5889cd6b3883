"""Extract the features of all person crops in a folder to an .npz."""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional
from reid.config import Embedding


@dataclass(frozen=True)
class ExtractOptions(Embedding):
    """Embed the photographs in a folder.

    Attributes:
        checkpoint: .pth of reid.train, or its run folder (uses last.pth).
        folder: folder of person crops, searched recursively.
        out: .npz file to write, with features (N x D, rows of length 1) and paths.
    """

    checkpoint: str = positional()
    folder: str = positional()
    out: str = positional()


main = command(ExtractOptions, "reid.extract_features:extract")

if __name__ == "__main__":
    sys.exit(main())
