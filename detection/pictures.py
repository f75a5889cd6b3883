"""Draw what detectors found, side by side.

White: annotation. Green: prediction with its score that matches an annotation of its class (IoU at least 0.5).
Red: one that does not.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional


@dataclass(frozen=True, kw_only=True)
class PicturesOptions:
    """Draw detections.

    Attributes:
        runs: OUTPUT_DIRs of train_net.py; each gets a strip of images.
        data: folder that holds coco/ (DETECTRON2_DATASETS).
        out: picture to write, .png or .jpg.
        split: split that was evaluated.
        count: number of images, spread evenly over the set.
        score: smallest score to show, in [0, 1].
        scale: factor by which images are enlarged.
    """

    runs: tuple[str, ...] = positional(nargs="+")
    data: str
    out: str = "detections.png"
    split: str = "val2017"
    count: int = 8
    score: float = 0.5
    scale: int = 1


main = command(PicturesOptions, "detection.coco.pictures:run")

if __name__ == "__main__":
    sys.exit(main())
