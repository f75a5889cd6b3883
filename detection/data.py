"""Prepare data for DETECTRON2_DATASETS.

yolo converts a data set from the YOLO layout to the COCO layout; subset selects some images of a COCO set, the
same every time; check lists a folder's problems (exit code 1) and compares its counts with the published ones.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from engine.command import subcommands
from engine.parser import positional


@dataclass(frozen=True)
class YoloOptions:
    """Convert a data set from the YOLO layout to the COCO layout.

    Attributes:
        images: data.yaml, of which train and val are converted, or the image folder of one split in the YOLO
            layout, e.g. coco128/images/train2017.
        out: folder in which coco/ is created (DETECTRON2_DATASETS).
        split: name of the split to write for an image folder, e.g. train2017, val2017 or val2017_100.
        names: data.yaml with the class names for an image folder, or coco for COCO's 80 classes.
        on_bad_box: stop at a malformed label or one outside the image, or skip and count such labels.
    """

    images: str = positional()
    out: str = positional()
    split: str = ""
    names: str = ""
    on_bad_box: Literal["stop", "skip"] = "stop"


@dataclass(frozen=True)
class SubsetOptions:
    """Select a small part of a COCO set, the same every time.

    Attributes:
        root: folder that holds coco/ (DETECTRON2_DATASETS).
        out: folder in which the new coco/ is created.
        count: number of images.
        split: split to select from, train2017 or val2017.
        seed: random seed of the selection.
        name: name of the new split; "" keeps the old name.
    """

    root: str = positional()
    out: str = positional()
    count: int = positional()
    split: str = "val2017"
    seed: int = 0
    name: str = ""


@dataclass(frozen=True)
class CheckOptions:
    """List the problems of a COCO folder; exit code 1 if there are any.

    Attributes:
        root: folder that holds coco/ (DETECTRON2_DATASETS).
        decode: also decode every image.
    """

    root: str = positional()
    decode: bool = False


main = subcommands(
    yolo=(YoloOptions, "detection.coco.yolo:run"),
    subset=(SubsetOptions, "detection.coco.subset:run"),
    check=(CheckOptions, "detection.coco.check:run"),
)

if __name__ == "__main__":
    sys.exit(main())
