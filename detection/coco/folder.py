"""COCO data sets for Detectron2: names and ids of categories, writing, placing images. Imports nothing heavy."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from engine.errors import UserError
from engine.files import write_json
from imagesets.demo.detection import CATEGORY_IDS, CATEGORY_NAMES

COCO_NAMES = tuple(name.strip().replace("_", " ") for name in CATEGORY_NAMES)
COCO_CATEGORIES = tuple({"id": i, "name": name} for i, name in zip(CATEGORY_IDS, COCO_NAMES, strict=True))


def names_by_id(categories: Iterable[dict[str, Any]]) -> dict[int, str]:
    """Return id -> name of a list of COCO categories, to compare two of them regardless of their order.

    Source: cocodataset.org's format.
    """
    return {entry["id"]: entry["name"] for entry in categories}


def write_annotations(content: dict[str, Any], path: Path) -> None:
    """Write a COCO annotation file; a failure leaves the old one intact."""
    write_json(content, path, indent=None)


def seen_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height after the EXIF rotation, as Detectron2 reads the image and expects annotations.

    Source: detectron2/data/detection_utils.py.
    """
    turned = image.getexif().get(0x0112) in (5, 6, 7, 8)
    return (image.height, image.width) if turned else image.size


def place(source: Path, target: Path) -> None:
    """Put an image into a data set, as a hard link if the file system allows it, otherwise as a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        if os.path.samefile(source, target) or source.read_bytes() == target.read_bytes():
            return
        raise UserError(f"{target} exists and is a different image: give an empty output folder")
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
