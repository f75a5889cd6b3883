"""Draw the detections of several detectors side by side.

White: annotation. Green: prediction, with its score, that matches an annotation of its class (IoU at least 0.5).
Red: prediction without a match.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional


@dataclass(frozen=True, kw_only=True)
class PicturesOptions:
    """Draw detections.

    Attributes:
        runs: OUTPUT_DIRs of train_net.py; each adds one strip of images.
        data: folder that holds coco/ (DETECTRON2_DATASETS).
        out: image file to write, .png or .jpg.
        split: split that was evaluated.
        count: number of images, evenly spaced over the set.
        score: minimum score of the predictions shown, in [0, 1].
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
