"""``python -m detection.pictures OUTPUT_DIR ... --data ROOT``: what the detectors found, side by side.

White: annotation. Green: prediction with its score that matches an annotation of its class (IoU at least 0.5).
Red: one that does not.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detection.rescore import check_ids, read_predictions
from engine.errors import UserError, guard

if TYPE_CHECKING:
    from PIL import Image

PROG = "python -m detection.pictures"
GAP = 6
RIGHT, WRONG = (40, 230, 80), (255, 70, 60)


@dataclass(frozen=True)
class PicturesConfig:
    """Draw detections.

    Attributes:
        runs: OUTPUT_DIRs of train_net.py; a strip each.
        data: folder of DETECTRON2_DATASETS.
        out: PNG or JPEG to write.
        split: that was evaluated.
        count: number of images, spread over the set.
        score: smallest score to show, in [0, 1].
        scale: enlargement.
    """

    runs: tuple[str, ...]
    data: str
    out: str = "detections.png"
    split: str = "val2017"
    count: int = 8
    score: float = 0.5
    scale: int = 1


def detection_sheet(
    runs: Sequence[Path],
    annotations: Path,
    images: Path,
    out: Path,
    *,
    count: int = 8,
    score: float = 0.5,
    scale: int = 1,
) -> None:
    """Draw predictions over the annotated boxes, a strip of images for every run.

    Args:
        runs: OUTPUT_DIRs of train_net.py, with ``inference/coco_instances_results.json``; or such files.
        annotations: COCO JSON of the evaluated set.
        images: its folder of images.
        out: picture to write.
        count: number of images, spread over the set.
        score: smallest score to show, in [0, 1].
        scale: enlargement.

    Raises:
        UserError: no predictions, no annotations, an image that is missing.

    Source: the COCO result format; matching at IoU 0.5 as in its AP50, but without crowds.
    """
    from PIL import Image

    from detection.coco.folder import read_annotations
    from imagesets.contact_sheet import save_picture

    truth = read_annotations(annotations)
    if not truth["images"] or count < 1:
        raise UserError(f"count: nothing to draw: {count} of {len(truth['images'])} images in {annotations}")
    chosen = truth["images"][:: max(1, len(truth["images"]) // count)][:count]
    names = {category["id"]: category["name"] for category in truth["categories"]}
    names |= {category: str(digit) for digit, category in enumerate(truth.get("info", {}).get("digits", []))}
    boxes = _by_image([each for each in truth["annotations"] if "bbox" in each])
    strips = []
    for run in runs:
        predictions = read_predictions(run)
        check_ids(predictions, truth, annotations)
        found = _by_image([each for each in predictions if each["score"] >= score])
        strips.append(
            [_cell(image, images, boxes[image["id"]], found[image["id"]], names, scale) for image in chosen]
        )
    columns = len(chosen) if len(runs) > 1 else -(-len(chosen) // 2)
    cells = [cell for strip in strips for cell in strip]
    width, height = max(c.width for c in cells) + GAP, max(c.height for c in cells) + GAP
    sheet = Image.new("RGB", (columns * width + GAP, -(-len(cells) // columns) * height + GAP), "white")
    for index, cell in enumerate(cells):
        sheet.paste(cell, (GAP + index % columns * width, GAP + index // columns * height))
    save_picture(sheet, out)


def _by_image(entries: Sequence[dict[str, Any]]) -> defaultdict[int, list[dict[str, Any]]]:
    grouped = defaultdict(list)
    for each in entries:
        grouped[each["image_id"]].append(each)
    return grouped


def _cell(
    image: dict[str, Any],
    folder: Path,
    truth: Sequence[dict[str, Any]],
    found: Sequence[dict[str, Any]],
    names: dict[int, str],
    scale: int,
) -> Image.Image:
    from PIL import ImageDraw

    from imagesets.images import read_rgb

    size = (image["width"] * scale, image["height"] * scale)
    cell = read_rgb(folder / image["file_name"]).resize(size)
    draw = ImageDraw.Draw(cell)
    for each in truth:
        draw.rectangle(_corners(each["bbox"], scale), outline="white")
    for each, right in zip(found, matches(found, truth), strict=True):
        corners, colour = _corners(each["bbox"], scale), RIGHT if right else WRONG
        draw.rectangle(corners, outline=colour, width=2)
        draw.text(corners[:2], f"{names[each['category_id']]} {each['score']:.2f}", fill=colour)
    return cell


def matches(found: Sequence[dict[str, Any]], truth: Sequence[dict[str, Any]]) -> list[bool]:
    """Decide which predictions on one image are right: best first, each annotation once, IoU at least 0.5.

    Args:
        found: predictions: category_id, bbox (x, y, width, height), score.
        truth: annotations: category_id, bbox.

    Returns:
        One truth value a prediction, in the order given.

    Source: pycocotools.cocoeval's matching at one threshold, without crowds.
    """
    free = list(truth)
    right = [False] * len(found)
    for index in sorted(range(len(found)), key=lambda i: -found[i]["score"]):
        same = [each for each in free if each["category_id"] == found[index]["category_id"]]
        best = max(same, key=lambda each: _iou(each["bbox"], found[index]["bbox"]), default=None)
        if best is not None and _iou(best["bbox"], found[index]["bbox"]) >= 0.5:
            right[index] = True
            free.remove(best)
    return right


def _iou(a: Sequence[float], b: Sequence[float]) -> float:
    wide = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    both = wide * high
    return both / max(a[2] * a[3] + b[2] * b[3] - both, 1e-9)


def _corners(bbox: Sequence[float], scale: int) -> tuple[float, float, float, float]:
    x, y, width, height = (value * scale for value in bbox)
    return x, y, x + width, y + height


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and draw; returns the exit code."""

    def command() -> None:
        from detection.coco.folder import annotation_file, image_folder
        from detection.options import name_runs
        from engine.command import parse

        config = parse(PicturesConfig, name_runs(argv), prog=PROG, description=str(__doc__))
        detection_sheet(
            [Path(run) for run in config.runs],
            annotation_file(Path(config.data), config.split),
            image_folder(Path(config.data), config.split),
            Path(config.out),
            count=config.count,
            score=config.score,
            scale=config.scale,
        )
        print(config.out)

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
