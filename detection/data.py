"""``python -m detection.data yolo | subset | check``: data for DETECTRON2_DATASETS.

yolo    a data set in YOLO's layout to COCO's; subset  some images of a COCO set, the same every time;
check   what is wrong with a folder (exit code 1), and whether its counts are the published ones.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import UserError, guard, nearest

PROG = "python -m detection.data"


@dataclass(frozen=True)
class YoloConfig:
    """Turn a data set in YOLO's layout into COCO's.

    Attributes:
        images: YOLO's folder of images of one split, e.g. coco128/images/train2017.
        out: folder for DETECTRON2_DATASETS.
        split: name of the split in it.
        names: data.yaml with the class names; "" means COCO's 80.
    """

    images: str
    out: str
    split: str = "train2017"
    names: str = ""


@dataclass(frozen=True)
class SubsetConfig:
    """Take a small part of a COCO set.

    Attributes:
        root: folder of DETECTRON2_DATASETS.
        out: another such folder.
        count: number of images.
        split: train2017 or val2017.
        seed: of the choice.
        name: name of the new split; "" keeps it.
    """

    root: str
    out: str
    count: int
    split: str = "val2017"
    seed: int = 0
    name: str = ""


@dataclass(frozen=True)
class CheckDataConfig:
    """Say what is wrong with a COCO folder.

    Attributes:
        root: folder of DETECTRON2_DATASETS.
        decode: also decode every image.
    """

    root: str
    decode: bool = False


def _yolo(config: YoloConfig) -> int:
    from detection.coco.folder import COCO_NAMES
    from detection.coco.yolo import read_names, yolo_to_coco

    names = read_names(Path(config.names)) if config.names else COCO_NAMES
    counts = yolo_to_coco(Path(config.images), names, Path(config.out), config.split)
    print(f"{config.out}/coco: {config.split}: {', '.join(f'{n} {what}' for what, n in counts.items())}")
    if tuple(names) != COCO_NAMES:
        print(
            f"{len(names)} classes that are not COCO's: train_net.py finds them once your script has called "
            "detectron2.data.datasets.register_coco_instances; set MODEL.ROI_HEADS.NUM_CLASSES or "
            f"MODEL.RETINANET.NUM_CLASSES {len(names)}"
        )
    return 0


def _subset(config: SubsetConfig) -> int:
    from detection.coco.subset import subset

    out = Path(config.out)
    counts = subset(Path(config.root), out, config.split, config.count, seed=config.seed, name=config.name)
    split = config.name or config.split
    print(f"{config.out}/coco: {split}: {counts['images']} images, {counts['objects']} objects")
    return 0


def _check(config: CheckDataConfig) -> int:
    from detection.coco.check import inspect

    problems, counts = inspect(Path(config.root), decode=config.decode)
    print("\n".join([*counts, *(f"WRONG: {problem}" for problem in problems)]))
    return int(bool(problems))


COMMANDS: dict[str, tuple[type[Any], Callable[[Any], int], tuple[str, ...]]] = {
    "yolo": (YoloConfig, _yolo, ("images", "out")),
    "subset": (SubsetConfig, _subset, ("root", "out", "count")),
    "check": (CheckDataConfig, _check, ("root",)),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and do it; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)

    def command() -> int:
        from engine.command import parse, with_positional

        if not words or words[0] in ("-h", "--help"):
            print(
                f"usage: {PROG} {{{','.join(COMMANDS)}}} ...\n\n{__doc__}\n{PROG} yolo --help lists its options."
            )
            return 0 if words else 2
        if words[0] not in COMMANDS:
            raise UserError(f"no command {words[0]!r}{nearest(words[0], COMMANDS)}: one of {', '.join(COMMANDS)}")
        config_type, does, positional = COMMANDS[words[0]]
        arguments = with_positional(words[1:], *positional)
        return does(parse(config_type, arguments, prog=f"{PROG} {words[0]}", description=str(config_type.__doc__)))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
