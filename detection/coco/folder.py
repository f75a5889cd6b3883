"""COCO data sets in the layout of DETECTRON2_DATASETS: names, ids, reading, writing. Imports nothing heavy."""

import math
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from engine.errors import UserError
from engine.files import read_json, write_json
from imagesets.demo.detection import CATEGORY_IDS, CATEGORY_NAMES

_FIELDS: dict[str, dict[str, type]] = {
    "images": {"id": int, "file_name": str, "width": int, "height": int},
    "annotations": {"image_id": int, "category_id": int},
    "categories": {"id": int, "name": str},
}
COCO_NAMES = tuple(name.strip().replace("_", " ") for name in CATEGORY_NAMES)
COCO_CATEGORIES = tuple({"id": i, "name": name} for i, name in zip(CATEGORY_IDS, COCO_NAMES, strict=True))


def annotation_file(root: Path, split: str) -> Path:
    """Return the annotation file of a split: ``ROOT/coco/annotations/instances_SPLIT.json``.

    Source: detectron2/data/datasets/builtin.py.
    """
    return root / "coco" / "annotations" / f"instances_{split}.json"


def image_folder(root: Path, split: str) -> Path:
    """Return the image folder of a split; ``val2017_100`` is a subset of ``val2017``.

    Source: detectron2/data/datasets/builtin.py.
    """
    return root / "coco" / (split.removesuffix("_100"))


def read_annotations(path: Path) -> dict[str, Any]:
    """Read a COCO annotation file.

    Args:
        path: file to read.

    Returns:
        Its content, with at least the lists ``images``, ``annotations`` and ``categories``.

    Raises:
        UserError: the file is missing, is not valid JSON, or lacks a list or a field of its entries.

    Source: cocodataset.org's format.
    """
    if not path.is_file():
        raise UserError(f"annotations {path} not found")
    content = read_json(path)
    lacking = [
        key
        for key in ("images", "annotations", "categories")
        if not isinstance(content, dict) or not isinstance(content.get(key), list)
    ]
    if lacking:
        raise UserError(f"{path} has no list {lacking[0]!r}, so it is not a COCO annotation file")
    for part, kinds in _FIELDS.items():
        for index, entry in enumerate(content[part]):
            _check_entry(entry, kinds, f"{path}: {part}[{index}]")
    return content


def _check_entry(entry: Any, kinds: dict[str, type], where: str) -> None:
    if not isinstance(entry, dict):
        raise UserError(f"{where} is not a JSON object: {str(entry)[:40]}")
    for name, kind in kinds.items():
        if not isinstance(entry.get(name), kind) or isinstance(entry.get(name), bool):
            raise UserError(f"{where}: {name} must be {kind.__name__}, got {entry.get(name)!r}")
    if "bbox" in entry:
        check_box(entry["bbox"], where)


def names_by_id(categories: Iterable[dict[str, Any]]) -> dict[int, str]:
    """Return id -> name of a list of COCO categories, to compare two of them regardless of their order.

    Source: cocodataset.org's format.
    """
    return {entry["id"]: entry["name"] for entry in categories}


def check_box(box: Any, where: str) -> None:
    """Check that a box is a list of four finite numbers.

    Raises:
        UserError: it is not; the message begins with ``where``.

    Source: cocodataset.org's format: x, y, width, height.
    """
    good = isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) for v in box)
    if not good or not all(math.isfinite(v) for v in box):
        raise UserError(f"{where}: bbox must be four finite numbers, got {str(box)[:60]}")


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
