"""Finds problems in a COCO folder before Detectron2 fails on them."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from detection.coco.folder import COCO_CATEGORIES, names_by_id, seen_size
from detection.data import CheckOptions
from engine.errors import UserError
from engine.progress import tracked
from imagesets.coco import annotation_file, image_folder, read_annotations
from imagesets.data_report import DataReport

# split -> number of images, of annotations, and of images with annotations
PUBLISHED = {"train2017": (118287, 860001, 117266), "val2017": (5000, 36781, 4952)}
SPLITS = ("train2017", "val2017", "val2017_100")


def run(options: CheckOptions) -> int:
    """Check a folder and print the report, for ``python -m detection.data check``; return the exit code."""
    return inspect(Path(options.root), decode=options.decode).show()


def inspect(root: Path, *, decode: bool = False) -> DataReport:
    """Check a DETECTRON2_DATASETS folder.

    Args:
        root: folder that holds ``coco/``.
        decode: also decode every image completely.

    Raises:
        UserError: the folder contains no COCO set.

    Source: detectron2/data/datasets: load_coco_json, builtin.py, builtin_meta.py.
    """
    present = [split for split in SPLITS if annotation_file(root, split).is_file()]
    if not present:
        raise UserError(f"no coco/annotations/instances_{{{','.join(SPLITS)}}}.json in {root}: give coco's parent")
    problems, counts = [], []
    for split in present:
        content = read_annotations(annotation_file(root, split))
        problems += [f"{split}: {text}" for text in _not_cocos(content)]
        problems += [f"{split}: {text}" for text in problems_of(content, image_folder(root, split), decode=decode)]
        counts.append(_counts(split, content))
    problems += [f"{annotation_file(root, split)} not found" for split in SPLITS[:2] if split not in present]
    return DataReport(counts, problems)


def _counts(split: str, content: dict[str, Any]) -> str:
    images, objects = len(content["images"]), len(content["annotations"])
    filled = len(
        {box["image_id"] for box in content["annotations"]} & {image["id"] for image in content["images"]}
    )
    text = f"{split}: {images} images, {objects} objects, {images - filled} images without objects"
    published = PUBLISHED.get(split)
    if published == (images, objects, filled):
        return f"{text} (as published)"
    return f"{text} (published: {published[0]} images, {published[1]} objects)" if published else text


def _not_cocos(content: dict[str, Any]) -> Iterator[str]:
    categories, official = names_by_id(content["categories"]), names_by_id(COCO_CATEGORIES)
    if categories != official:
        yield (
            f"the {len(categories)} categories are not COCO's {len(official)} with their ids, so Detectron2's "
            "built-in data sets reject them: train with detection.run --train ANNOTATIONS.json:IMAGES --val ..."
        )


def problems_of(content: dict[str, Any], folder: Path, *, decode: bool = False) -> Iterator[str]:
    """List the problems of one part of a data set, whatever its classes are.

    Args:
        content: from :func:`read_annotations`.
        folder: folder of its images.
        decode: also decode every image completely.

    Source: detectron2/data/datasets/coco.py.
    """
    if not content["images"]:
        yield "no images"
    if not content["annotations"]:
        yield "no objects"
    categories = names_by_id(content["categories"])
    yield from (f"categories: {text}" for key in ("id", "name") for text in _twice(content["categories"], key))
    yield from _image_problems(content["images"], folder, decode)
    yield from _object_problems(content, set(categories))


def _image_problems(images: list[dict[str, Any]], folder: Path, decode: bool) -> Iterator[str]:
    for key in ("id", "file_name"):
        yield from _twice(images, key)
    faults: dict[str, list[str]] = {}
    for image in tracked(images, folder.name):
        fault = _image_fault(image, folder / image["file_name"], decode)
        if fault:
            faults.setdefault(fault, []).append(image["file_name"])
    for fault, names in faults.items():
        yield f"{len(names)} images {fault} ({folder}), e.g. {names[0]}"


def _image_fault(image: dict[str, Any], path: Path, decode: bool) -> str:
    if not path.is_file():
        return "are missing"
    try:
        with Image.open(path) as opened:
            size = seen_size(opened)
            if decode:
                opened.load()
    except (OSError, SyntaxError):
        return "cannot be read"
    return "" if size == (image.get("width"), image.get("height")) else "differ in size from the annotation"


def _twice(entries: list[dict[str, Any]], key: str) -> Iterator[str]:
    twice = [value for value, count in Counter(entry.get(key) for entry in entries).items() if count > 1]
    if twice:
        yield f"{len(twice)} values of {key} occur more than once, e.g. {twice[0]}"


def _object_problems(content: dict[str, Any], categories: set[int]) -> Iterator[str]:
    sizes = {image["id"]: (image.get("width", 0), image.get("height", 0)) for image in content["images"]}
    faults: dict[str, list[Any]] = {}
    for box in content["annotations"]:
        fault = _fault(box, sizes, categories)
        if fault:
            faults.setdefault(fault, []).append(box.get("id"))
    for fault, ids in faults.items():
        yield f"{len(ids)} annotations {fault}, e.g. id {ids[0]}"
    yield from (f"annotations: {text}" for text in _twice(content["annotations"], "id"))


def _fault(box: dict[str, Any], sizes: dict[int, tuple[int, int]], categories: set[int]) -> str:
    if {"bbox", "image_id", "category_id", "id"} - box.keys():
        return "lack bbox, image_id, category_id or id"
    if box["image_id"] not in sizes:
        return "have an image_id that is not in the set"
    if box["category_id"] not in categories:
        return "have a category_id that is not in the set"
    if "iscrowd" not in box or "area" not in box:
        return "lack iscrowd or area, which the evaluation needs"
    x, y, width, height = box["bbox"]
    across, down = sizes[box["image_id"]]
    if width <= 0 or height <= 0:
        return "have an empty box"
    if x < -1 or y < -1 or x + width > across + 1 or y + height > down + 1:
        return "have a box that extends beyond the image"
    return ""
