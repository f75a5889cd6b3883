"""Draw the weak, strong and kept views of a run's own images.

Rows: weak view, crop of the strong view, its saliency (square root), RandAugment and Cutout, the same with the
important region pasted back. A weak view's frame is green where the unlabelled loss would count it, else red.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional


@dataclass(frozen=True)
class PicturesOptions:
    """Draw the views of a run.

    Attributes:
        checkpoint: .pth of semi_supervised.train, or its run folder (then last.pth).
        out: picture to write, .png or .jpg.
        root: folder of the data; "" takes the one of the training.
        columns: number of images.
        seed: seed of the draws.
    """

    checkpoint: str = positional()
    out: str = positional()
    root: str = ""
    columns: int = 10
    seed: int = 0


main = command(PicturesOptions, "semi_supervised.view_sheet:draw_views")

if __name__ == "__main__":
    sys.exit(main())
