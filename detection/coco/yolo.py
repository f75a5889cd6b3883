"""Converts data sets from the YOLO layout to the COCO layout."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image

from detection.coco.data_yaml import list_images, read_names, read_parts
from detection.coco.folder import COCO_CATEGORIES, COCO_NAMES, place, seen_size, write_annotations
from detection.data import YoloOptions
from engine.errors import UserError, check_choices
from engine.progress import tracked
from imagesets.coco import annotation_file, image_folder

COCO = "coco"  # --names coco
SPLITS = {"train": "train2017", "val": "val2017"}
_SLACK = 0.01  # a rounded box may extend beyond the image by this fraction
OnBadBox = Literal["stop", "skip"]


class YoloSet(NamedTuple):
    """One part of a YOLO data set in COCO's format.

    Attributes:
        content: images, annotations and categories.
        skipped: one line for each label that was left out.
    """

    content: dict[str, Any]
    skipped: list[str]

    def counts(self) -> str:
        """Describe the part in one line."""
        images, objects = self.content["images"], self.content["annotations"]
        empty = len(images) - len({entry["image_id"] for entry in objects})
        text = f"{len(images)} images, {len(objects)} objects, {empty} without objects"
        return f"{text}, {len(self.skipped)} bad labels left out, e.g. {self.skipped[0]}" if self.skipped else text


def run(options: YoloOptions) -> None:
    """Convert one split, or both of a data.yaml, and print their counts, for ``python -m detection.data yolo``.

    Raises:
        UserError: the class names are not given, or see :func:`yolo_to_coco`.
    """
    check_choices(options)
    source, out = Path(options.images), Path(options.out)
    if source.suffix in (".yaml", ".yml"):
        if options.split or options.names:
            raise UserError(f"{source} names its own classes and parts: leave out --names and --split")
        parts = read_parts(source)
        names = parts.names
        splits = {SPLITS[part]: (paths, common_folder(paths)) for part, paths in parts.images.items()}
    else:
        if not options.names:
            raise UserError(
                "names: give the data.yaml with the class names, or --names coco for COCO's 80 classes"
            )
        names = COCO_NAMES if options.names == COCO else read_names(Path(options.names))
        splits = {options.split or SPLITS["train"]: (list_images(source), source.absolute())}
    for split, (paths, root) in splits.items():
        converted = yolo_to_coco(paths, root, names, out, split, on_bad_box=options.on_bad_box)
        print(f"{options.out}/coco: {split}: {converted.counts()}")
    if names != COCO_NAMES:
        files = " ".join(
            f"--{part} {annotation_file(out, split)}:{image_folder(out, split)}" for part, split in SPLITS.items()
        )
        print(f"The {len(names)} classes are not COCO's: train with python -m detection.run {files}")


def yolo_to_coco(
    paths: Sequence[Path],
    root: Path,
    names: Sequence[str],
    out: Path,
    split: str,
    *,
    on_bad_box: OnBadBox = "stop",
) -> YoloSet:
    """Convert one split, and put its images into the COCO layout.

    Args:
        paths: images; see :func:`read_labels`.
        root: folder that contains all images.
        names: class names in YOLO's order.
        out: folder in which ``coco/`` is created (DETECTRON2_DATASETS).
        split: train2017, val2017, or val2017_100.
        on_bad_box: whether a bad label stops the conversion or is left out.

    Raises:
        UserError: there are no images, or a label is malformed, outside the image, or of an unknown class.

    Source: the layouts of Ultralytics' YOLO and of cocodataset.org.
    """
    converted = read_labels(paths, root, names, on_bad_box=on_bad_box)
    for image in converted.content["images"]:
        place(root / image["file_name"], image_folder(out, split) / image["file_name"])
    write_annotations(converted.content, annotation_file(out, split))
    return converted


def read_labels(
    paths: Sequence[Path], root: Path, names: Sequence[str], *, on_bad_box: OnBadBox = "stop"
) -> YoloSet:
    """Read the labels of images.

    Args:
        paths: images. The labels are in the same path with ``labels`` instead of ``images``, one .txt per image:
            ``class x y width height`` (centre and size) or ``class x1 y1 x2 y2 ...`` (polygon), as fractions of
            the image. An image without a file has no objects.
        root: folder that contains all images; their file names are relative to it.
        names: class names in YOLO's order. COCO's 80 names get COCO's ids, which Detectron2's built-in data sets
            require; others get 1, 2, 3, ...
        on_bad_box: whether a bad label raises an error or is left out and counted.

    Returns:
        The part in COCO's format. Images named by distinct numbers keep them as ids, others get 1, 2, 3, ...

    Raises:
        UserError: there are no images, or a label is malformed, outside the image, or of an unknown class.

    Source: the layouts of Ultralytics' YOLO and of cocodataset.org.
    """
    if not paths:
        raise UserError(f"no images in {root}: give the image folder of the YOLO set, e.g. images/train2017")
    if not any(_label_file(path).is_file() for path in paths):
        raise UserError(
            f"none of the {len(paths)} images has labels: expected files such as {_label_file(paths[0])}"
        )
    categories, skipped = categories_of(names), list[str]()
    listed: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for path, number in zip(tracked(paths, "labels"), image_ids(paths), strict=True):
        width, height = _size(path)
        listed.append({"id": number, "file_name": str(path.relative_to(root)), "width": width, "height": height})
        for label, (x0, y0, x1, y1), polygon in _labels(path, width, height, len(names), on_bad_box, skipped):
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
    return YoloSet({"images": listed, "annotations": objects, "categories": list(categories)}, skipped)


def common_folder(paths: Sequence[Path]) -> Path:
    """Return the deepest folder that contains all images, given by their absolute paths."""
    parents = [path.parent for path in paths]
    return next(f for f in (parents[0], *parents[0].parents) if all(p.is_relative_to(f) for p in parents))


def image_ids(paths: Sequence[Path]) -> list[int]:
    """Return the numbers that the images are named by, as in COCO, if they are distinct; otherwise 1, 2, 3, ..."""
    stems = [path.stem for path in paths]
    if all(stem.isascii() and stem.isdigit() for stem in stems) and len({int(s) for s in stems}) == len(stems):
        return [int(stem) for stem in stems]
    return list(range(1, len(paths) + 1))


def categories_of(names: Sequence[str]) -> tuple[dict[str, Any], ...]:
    """Return the COCO categories of YOLO's classes.

    Source: COCO's ids 1 to 90 for its 80 names, in YOLO's order.
    """
    if tuple(names) == COCO_NAMES:
        return COCO_CATEGORIES
    return tuple({"id": index, "name": name} for index, name in enumerate(names, 1))


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


def _labels(
    image: Path, width: int, height: int, classes: int, on_bad_box: OnBadBox, skipped: list[str]
) -> Iterator[tuple[int, list[float], list[float]]]:
    """Yield class, (x0, y0, x1, y1) in pixels, and the polygon if the line has one."""
    path = _label_file(image)
    try:
        lines = path.read_text().splitlines() if path.is_file() else []
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _label(line, width, height, classes)
        except ValueError as error:
            fault = f"{path}, line {number}: {error}"
            if on_bad_box == "stop":
                raise UserError(f"{fault}; --on_bad_box skip leaves such labels out") from error
            skipped.append(fault)


def _label(line: str, width: int, height: int, classes: int) -> tuple[int, list[float], list[float]]:
    """Read one line.

    Raises:
        ValueError: the line is malformed, the box is not inside the image, or the class is unknown.
    """
    label, *values = (float(word) for word in line.split())
    if not 0 <= label < classes or label != int(label):
        raise ValueError(f"class must be an integer from 0 to {classes - 1}, got {label:g}")
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise ValueError(f"expected a box or a polygon after the class, got {len(values)} numbers")
    xs, ys = (values[0::2], values[1::2]) if len(values) > 4 else _edges(values)
    ends = (min(xs), min(ys), max(xs), max(ys))
    inside = all(-_SLACK <= value <= 1 + _SLACK for value in ends)  # False for NaN too
    if not inside or ends[0] >= ends[2] or ends[1] >= ends[3]:
        raise ValueError(f"the box is empty or not inside the image: {line.strip()}")
    sides = (width, height, width, height)
    box = [min(max(value, 0.0), 1.0) * side for value, side in zip(ends, sides, strict=True)]
    turns = [v for x, y in zip(xs, ys, strict=True) for v in (round(x * width, 2), round(y * height, 2))]
    return int(label), box, turns if len(values) > 4 else []


def _edges(values: Sequence[float]) -> tuple[list[float], list[float]]:
    x, y, width, height = values
    return [x - width / 2, x + width / 2], [y - height / 2, y + height / 2]
