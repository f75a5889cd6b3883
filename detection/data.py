"""Prepare data for DETECTRON2_DATASETS.

yolo converts a data set in YOLO's layout to COCO's; subset takes some images of a COCO set, the same every time;
check says what is wrong with a folder (exit code 1), and whether its counts are the published ones.
"""

import sys
from dataclasses import dataclass

from engine.command import subcommands
from engine.parser import positional


@dataclass(frozen=True)
class YoloOptions:
    """Turn a data set in YOLO's layout into COCO's.

    Attributes:
        images: YOLO's folder of images of one split, e.g. coco128/images/train2017.
        out: folder that will hold coco/ (DETECTRON2_DATASETS).
        split: name of the split in it.
        names: data.yaml with the class names; "" means COCO's 80.
    """

    images: str = positional()
    out: str = positional()
    split: str = "train2017"
    names: str = ""


@dataclass(frozen=True)
class SubsetOptions:
    """Take a small part of a COCO set, the same every time.

    Attributes:
        root: folder that holds coco/ (DETECTRON2_DATASETS).
        out: another such folder to write to.
        count: number of images.
        split: split to take them from, train2017 or val2017.
        seed: seed of the choice.
        name: name of the new split; "" keeps the old one.
    """

    root: str = positional()
    out: str = positional()
    count: int = positional()
    split: str = "val2017"
    seed: int = 0
    name: str = ""


@dataclass(frozen=True)
class CheckOptions:
    """Say what is wrong with a COCO folder; exit code 1 for problems.

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
