"""Draw what a trained backbone's recipe cuts: image, saliency, chosen box, result.

One column per image; rows: image with the plain (red) and the selective box (green) of the same draw, saliency
(square root), plain result, selective result.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional


@dataclass(frozen=True)
class PicturesOptions:
    """Draw what a recipe cuts.

    Attributes:
        checkpoint: .pth of pretrain.train, or its run folder (then last.pth).
        out: picture to write, .png or .jpg.
        columns: number of images.
        seed: seed of the draws.
    """

    checkpoint: str = positional()
    out: str = positional()
    columns: int = 8
    seed: int = 3


main = command(PicturesOptions, "pretrain.sheets:draw_regions")

if __name__ == "__main__":
    sys.exit(main())
