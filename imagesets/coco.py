"""COCO annotations: where they lie, reading them with a check of their fields, and images with object masks."""

import math
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from engine.errors import UserError
from engine.files import read_json
from imagesets.readers import read_rgb

_FIELDS: dict[str, dict[str, type]] = {
    "images": {"id": int, "file_name": str, "width": int, "height": int},
    "annotations": {"image_id": int, "category_id": int},
    "categories": {"id": int, "name": str},
}


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


def check_box(box: Any, where: str) -> None:
    """Check that a box is a list of four finite numbers.

    Raises:
        UserError: it is not; the message begins with ``where``.

    Source: cocodataset.org's format: x, y, width, height.
    """
    good = isinstance(box, list) and len(box) == 4 and all(isinstance(v, int | float) for v in box)
    if not good or not all(math.isfinite(v) for v in box):
        raise UserError(f"{where}: bbox must be four finite numbers, got {str(box)[:60]}")


class BoxedImages:
    """Images of a COCO data set: index -> (PIL image, mask of its objects or None).

    Crowd regions do not count as objects. Boxes are in pixels of the decoded file.

    Args:
        annotations: COCO annotation file.
        images: folder of its images.

    Raises:
        UserError: see :func:`read_annotations`; on access, an image cannot be read or has another size than its
            entry.
    """

    def __init__(self, annotations: Path, images: Path) -> None:
        content = read_annotations(annotations)
        self.annotations, self.folder, self.entries = annotations, images, content["images"]
        self.boxes: dict[int, list[list[float]]] = {}
        for entry in content["annotations"]:
            if "bbox" in entry and not entry.get("iscrowd"):
                self.boxes.setdefault(entry["image_id"], []).append(entry["bbox"])

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> tuple[Image.Image, Image.Image | None]:
        entry = self.entries[index]
        path = self.folder / entry["file_name"]
        image = read_rgb(path)
        if image.size != (entry["width"], entry["height"]):
            size = f"{entry['width']} x {entry['height']}"
            raise UserError(f"{path} is {image.width} x {image.height} px, but {self.annotations} says {size}")
        boxes = self.boxes.get(entry["id"], [])
        return image, _mask(image.size, boxes) if boxes else None


def _mask(size: tuple[int, int], boxes: list[list[float]]) -> Image.Image:
    """Draw the union of boxes: 255 inside, 0 outside."""
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    for x, y, width, height in boxes:
        left, top, right, bottom = round(x), round(y), round(x + width) - 1, round(y + height) - 1
        if right >= left and bottom >= top:
            draw.rectangle((left, top, right, bottom), fill=255)
    return mask
