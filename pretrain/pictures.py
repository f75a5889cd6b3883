"""Draw the regions that a trained backbone's recipe cuts: image, saliency, selected box, result.

There is one column per image. Rows: image with the plain (red) and the selective box (green) of the same draw,
saliency (square root), plain result, selective result.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional


@dataclass(frozen=True)
class PicturesOptions:
    """Draw the regions that a recipe cuts.

    Attributes:
        checkpoint: .pth file written by pretrain.train, or a run folder (its last.pth).
        out: image file to write, .png or .jpg.
        columns: number of images.
        seed: random seed of the boxes.
    """

    checkpoint: str = positional()
    out: str = positional()
    columns: int = 8
    seed: int = 3


main = command(PicturesOptions, "pretrain.picture_sheets:draw_regions")

if __name__ == "__main__":
    sys.exit(main())
