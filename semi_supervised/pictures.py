"""Draw the weak, strong and kept views of a run's unlabelled images.

Rows: weak view; crop of the strong view; its saliency (square root); after RandAugment and Cutout; the same with
the important region pasted back. A weak view's frame is green if the unlabelled loss would count it, else red.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional


@dataclass(frozen=True)
class PicturesOptions:
    """Draw the views of a run.

    Attributes:
        checkpoint: .pth file written by semi_supervised.train, or a run folder (its last.pth).
        out: image file to write, .png or .jpg.
        root: folder of the data; "" uses the one from training.
        columns: number of images.
        seed: random seed of the crops and augmentations.
    """

    checkpoint: str = positional()
    out: str = positional()
    root: str = ""
    columns: int = 10
    seed: int = 0


main = command(PicturesOptions, "semi_supervised.picture_sheets:draw_views")

if __name__ == "__main__":
    sys.exit(main())
