"""What is wrong with a COCO folder, before Detectron2 stumbles over it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from detection.coco.folder import COCO_CATEGORIES, annotation_file, image_folder, read_annotations, seen_size
from engine.errors import UserError
from engine.progress import tracked

# images, annotations, images with objects
PUBLISHED = {"train2017": (118287, 860001, 117266), "val2017": (5000, 36781, 4952)}
SPLITS = ("train2017", "val2017", "val2017_100")


def inspect(root: Path, *, decode: bool = False) -> tuple[list[str], list[str]]:
    """Look a DETECTRON2_DATASETS folder through.

    Args:
        root: the folder that holds ``coco/``.
        decode: also decode every image completely.

    Returns:
        Problems, and counts of every split.

    Raises:
        UserError: no COCO set in it.

    Source: detectron2/data/datasets: load_coco_json, builtin.py, builtin_meta.py.
    """
    there = [split for split in SPLITS if annotation_file(root, split).is_file()]
    if not there:
        raise UserError(f"no coco/annotations/instances_{{{','.join(SPLITS)}}}.json below {root}")
    problems, told = [], []
    for split in there:
        content = read_annotations(annotation_file(root, split))
        problems += [f"{split}: {text}" for text in _problems(content, image_folder(root, split), decode)]
        told.append(_counts(split, content))
    problems += [f"{split}: no {annotation_file(root, split)}" for split in SPLITS[:2] if split not in there]
    return problems, told


def _counts(split: str, content: dict[str, Any]) -> str:
    images, objects = len(content["images"]), len(content["annotations"])
    filled = len(
        {each["image_id"] for each in content["annotations"]} & {each["id"] for each in content["images"]}
    )
    text = f"{split}: {images} images, {objects} objects, {images - filled} images without any"
    published = PUBLISHED.get(split)
    if published == (images, objects, filled):
        return f"{text}: the published set"
    return f"{text} (published: {published[0]}, {published[1]})" if published else text


def _problems(content: dict[str, Any], folder: Path, decode: bool) -> Iterator[str]:
    if not content["images"]:
        yield "no images"
    found = {each["id"]: each["name"] for each in content["categories"]}
    official = {each["id"]: each["name"] for each in COCO_CATEGORIES}
    if found != official:
        yield (
            f"categories are not COCO's 80 with their ids ({len(found)} of {len(official)}): Detectron2's builtin "
            "data sets refuse them; register_coco_instances under a name of your own takes them"
        )
    yield from _image_problems(content["images"], folder, decode)
    yield from _object_problems(content, set(found))


def _image_problems(images: list[dict[str, Any]], folder: Path, decode: bool) -> Iterator[str]:
    for key in ("id", "file_name"):
        yield from _twice(images, key)
    found: dict[str, list[str]] = {}
    for image in tracked(images, folder.name):
        fault = _image_fault(image, folder / image["file_name"], decode)
        if fault:
            found.setdefault(fault, []).append(image["file_name"])
    for fault, names in found.items():
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
    return "" if size == (image.get("width"), image.get("height")) else "have another size than annotated"


def _twice(entries: list[dict[str, Any]], key: str) -> Iterator[str]:
    twice = [value for value, count in Counter(each.get(key) for each in entries).items() if count > 1]
    if twice:
        yield f"{len(twice)} values of {key} occur twice, e.g. {twice[0]}"


def _object_problems(content: dict[str, Any], categories: set[int]) -> Iterator[str]:
    sizes = {image["id"]: (image.get("width", 0), image.get("height", 0)) for image in content["images"]}
    faults: dict[str, list[Any]] = {}
    for each in content["annotations"]:
        fault = _fault(each, sizes, categories)
        if fault:
            faults.setdefault(fault, []).append(each.get("id"))
    for fault, ids in faults.items():
        yield f"{len(ids)} annotations {fault}, e.g. id {ids[0]}"
    yield from (f"annotations: {text}" for text in _twice(content["annotations"], "id"))


def _fault(each: dict[str, Any], sizes: dict[int, tuple[int, int]], categories: set[int]) -> str:
    if {"bbox", "image_id", "category_id", "id"} - each.keys():
        return "lack bbox, image_id, category_id or id"
    if each["image_id"] not in sizes:
        return "are of no image of the set"
    if each["category_id"] not in categories:
        return "are of no category of the set"
    if "iscrowd" not in each or "area" not in each:
        return "lack iscrowd or area, which the evaluation needs"
    x, y, width, height = each["bbox"]
    across, down = sizes[each["image_id"]]
    if width <= 0 or height <= 0:
        return "have an empty box"
    if x < -1 or y < -1 or x + width > across + 1 or y + height > down + 1:
        return "have a box that leaves the image"
    return ""
