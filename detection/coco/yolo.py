"""Converts data sets from the YOLO layout to the COCO layout."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from detection.coco.folder import (
    COCO_CATEGORIES,
    COCO_NAMES,
    annotation_file,
    image_folder,
    place,
    seen_size,
    write_annotations,
)
from detection.data import YoloOptions
from engine.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_SLACK = 0.01  # a rounded box may extend beyond the image by this fraction


def run(options: YoloOptions) -> None:
    """Convert a split and print its counts, for ``python -m detection.data yolo``."""
    names = read_names(Path(options.names)) if options.names else COCO_NAMES
    counts = yolo_to_coco(Path(options.images), names, Path(options.out), options.split)
    print(f"{options.out}/coco: {options.split}: {', '.join(f'{n} {what}' for what, n in counts.items())}")
    if tuple(names) != COCO_NAMES:
        print(
            f"The {len(names)} classes are not COCO's: register the set in your script with "
            "detectron2.data.datasets.register_coco_instances, and set MODEL.ROI_HEADS.NUM_CLASSES or "
            f"MODEL.RETINANET.NUM_CLASSES to {len(names)}"
        )


def yolo_to_coco(images: Path, names: Sequence[str], out: Path, split: str) -> dict[str, int]:
    """Convert one split.

    Args:
        images: folder of images. The labels are in the same path with ``labels`` instead of ``images``, one .txt
            per image: ``class x y width height`` (centre and size) or ``class x1 y1 x2 y2 ...`` (polygon), as
            fractions of the image. An image without a file has no objects.
        names: class names in YOLO's order. COCO's 80 names get COCO's ids, which Detectron2's built-in data sets
            require; others get 1, 2, 3, ...
        out: folder in which ``coco/`` is created (DETECTRON2_DATASETS).
        split: train2017, val2017, or val2017_100.

    Returns:
        Counts: images, objects, and images without objects.

    Raises:
        UserError: there are no images, or a label is malformed, outside the image, or of an unknown class.

    Source: the layouts of Ultralytics' YOLO and of cocodataset.org.
    """
    paths = sorted(path for path in images.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UserError(f"no images in {images}: give the image folder of the YOLO set, e.g. images/train2017")
    categories = categories_of(names)
    if not any(_label_file(path).is_file() for path in paths):
        raise UserError(
            f"none of the {len(paths)} images has labels: expected files such as {_label_file(paths[0])}"
        )
    listed: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number, path in enumerate(paths, 1):
        width, height = _size(path)
        name = str(path.relative_to(images))
        listed.append({"id": number, "file_name": name, "width": width, "height": height})
        for label, box, polygon in _labels(_label_file(path), width, height, len(names)):
            x0, y0, x1, y1 = box
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": number,
                    "category_id": categories[label]["id"],
                    "bbox": [round(v, 3) for v in (x0, y0, x1 - x0, y1 - y0)],
                    "area": round((x1 - x0) * (y1 - y0), 3),
                    "iscrowd": 0,
                    **({"segmentation": [polygon]} if polygon else {}),
                }
            )
        place(path, image_folder(out, split) / name)
    content = {"images": listed, "annotations": objects, "categories": list(categories)}
    write_annotations(content, annotation_file(out, split))
    empty = len(listed) - len({entry["image_id"] for entry in objects})
    return {"images": len(listed), "objects": len(objects), "without objects": empty}


def categories_of(names: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """Return the COCO categories of YOLO's classes.

    Source: COCO's ids 1 to 90 for its 80 names, in YOLO's order.
    """
    if tuple(names) == COCO_NAMES:
        return COCO_CATEGORIES
    return tuple({"id": index, "name": name} for index, name in enumerate(names, 1))


def read_names(data_yaml: Path) -> tuple[str, ...]:
    """Read class names from a data.yaml: a list, or a dict with keys from 0.

    Raises:
        UserError: the file is missing, is not valid YAML, or has no names.

    Source: Ultralytics' data set files.
    """
    try:
        names = yaml.safe_load(data_yaml.read_text())["names"]
        if not isinstance(names, list | dict):
            raise TypeError(names)
        return tuple(str(names[i]) for i in range(len(names)))
    except OSError as error:
        raise UserError(f"names: cannot read {data_yaml}: {error.strerror}") from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"names: {data_yaml} is not a YAML file with class names under 'names'") from error


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            return seen_size(image)
    except OSError as error:
        raise UserError(f"cannot read image {path}: {error}") from error


def _label_file(image: Path) -> Path:
    parts = list(image.parts)
    last = max((i for i, part in enumerate(parts) if part == "images"), default=None)
    if last is None:
        raise UserError(f"{image} is not inside a folder named images, so its labels cannot be found")
    return Path(*parts[:last], "labels", *parts[last + 1 :]).with_suffix(".txt")


def _labels(path: Path, width: int, height: int, classes: int) -> Iterator[tuple[int, list[float], list[float]]]:
    """Yield class, (x0, y0, x1, y1) in pixels, and the polygon if the line has one."""
    try:
        lines = path.read_text().splitlines() if path.is_file() else []
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            label, *values = (float(word) for word in line.split())
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {error}") from error
        if not 0 <= label < classes or label != int(label):
            raise UserError(
                f"{path}, line {number}: class must be an integer from 0 to {classes - 1}, got {label:g}"
            )
        if len(values) != 4 and (len(values) < 6 or len(values) % 2):
            raise UserError(
                f"{path}, line {number}: expected a box or a polygon after the class, got {len(values)} numbers"
            )
        xs, ys = (values[0::2], values[1::2]) if len(values) > 4 else _edges(values)
        ends = (min(xs), min(ys), max(xs), max(ys))
        inside = all(-_SLACK <= value <= 1 + _SLACK for value in ends)  # False for NaN too
        if not inside or ends[0] >= ends[2] or ends[1] >= ends[3]:
            raise UserError(f"{path}, line {number}: the box is empty or not inside the image: {line.strip()}")
        sides = (width, height, width, height)
        box = [min(max(value, 0.0), 1.0) * side for value, side in zip(ends, sides, strict=True)]
        turns = [v for x, y in zip(xs, ys, strict=True) for v in (round(x * width, 2), round(y * height, 2))]
        yield int(label), box, turns if len(values) > 4 else []


def _edges(values: Sequence[float]) -> tuple[list[float], list[float]]:
    x, y, width, height = values
    return [x - width / 2, x + width / 2], [y - height / 2, y + height / 2]
