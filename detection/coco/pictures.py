"""Draws detections over the annotated boxes, for ``python -m detection.pictures``."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor
from torchvision.utils import draw_bounding_boxes

from detection.coco.rescore import check_ids, read_predictions
from detection.pictures import PicturesOptions
from engine.errors import UserError, check_ranges
from engine.files import check_targets
from imagesets.coco import annotation_file, image_folder, read_annotations
from imagesets.contact_sheet import check_picture_name, save_picture, sheet
from imagesets.readers import read_rgb

RIGHT, WRONG, TRUTH = (40, 230, 80), (255, 70, 60), (255, 255, 255)


def run(options: PicturesOptions) -> None:
    """Draw the picture and print its file name."""
    check_ranges(options, count=(1, None), score=(0, 1), scale=(1, 20))
    check_picture_name(options.out)
    check_targets(options.out)
    root = Path(options.data)
    detection_sheet(
        [Path(run) for run in options.runs],
        annotation_file(root, options.split),
        image_folder(root, options.split),
        Path(options.out),
        count=options.count,
        score=options.score,
        scale=options.scale,
    )
    print(options.out)


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
    """Draw predictions over the annotated boxes, one strip of images per run.

    Args:
        runs: OUTPUT_DIRs of train_net.py, with ``inference/coco_instances_results.json``, or such files.
        annotations: COCO annotation file of the evaluated set.
        images: image folder of that set.
        out: image file to write.
        count: number of images, evenly spaced over the set.
        score: minimum score of the predictions shown, in [0, 1].
        scale: factor by which images are enlarged.

    Raises:
        UserError: the predictions, the annotations or an image are missing.

    Source: the COCO result format; matching at IoU 0.5 as in AP50, but without crowds.
    """
    truth = read_annotations(annotations)
    if not truth["images"] or count < 1:
        raise UserError(f"count: cannot draw {count} of the {len(truth['images'])} images in {annotations}")
    entries = truth["images"][:: max(1, len(truth["images"]) // count)][:count]
    names = {category["id"]: category["name"] for category in truth["categories"]}
    names |= {category: str(digit) for digit, category in enumerate(truth.get("info", {}).get("digits", []))}
    boxes = _by_image([box for box in truth["annotations"] if "bbox" in box])
    strips = []
    for run in runs:
        predictions = read_predictions(run)
        check_ids(predictions, truth, annotations)
        visible = _by_image([box for box in predictions if box["score"] >= score])
        strips.append([_cell(e, images, boxes[e["id"]], visible[e["id"]], names, scale) for e in entries])
    columns = len(entries) if len(runs) > 1 else -(-len(entries) // 2)
    cells = [cell for strip in strips for cell in strip]
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    save_picture(sheet(rows), out)


def _by_image(entries: Sequence[dict[str, Any]]) -> defaultdict[int, list[dict[str, Any]]]:
    grouped = defaultdict(list)
    for entry in entries:
        grouped[entry["image_id"]].append(entry)
    return grouped


def _cell(
    entry: dict[str, Any],
    folder: Path,
    truth: Sequence[dict[str, Any]],
    predictions: Sequence[dict[str, Any]],
    names: dict[int, str],
    scale: int,
) -> Tensor:
    size = (entry["width"] * scale, entry["height"] * scale)
    cell_3HW = pil_to_tensor(read_rgb(folder / entry["file_name"]).resize(size))
    if truth:
        cell_3HW = draw_bounding_boxes(cell_3HW, _corners(truth, scale), colors=[TRUTH] * len(truth))
    if predictions:
        right = matches(predictions, truth)
        cell_3HW = draw_bounding_boxes(
            cell_3HW,
            _corners(predictions, scale),
            labels=[f"{names[box['category_id']]} {box['score']:.2f}" for box in predictions],
            colors=[RIGHT if hit else WRONG for hit in right],
            width=2,
        )
    return cell_3HW


def _corners(boxes: Sequence[dict[str, Any]], scale: int) -> Tensor:
    """Return corners_N4, (x0, y0, x1, y1) in pixels of the cell, from COCO's (x, y, width, height)."""
    xywh_N4 = torch.tensor([box["bbox"] for box in boxes], dtype=torch.float32) * scale
    return torch.cat([xywh_N4[:, :2], xywh_N4[:, :2] + xywh_N4[:, 2:].clamp_min(0)], dim=1)


def matches(predictions: Sequence[dict[str, Any]], truth: Sequence[dict[str, Any]]) -> list[bool]:
    """Find the correct predictions on one image: best first, each annotation used once, IoU at least 0.5.

    Args:
        predictions: category_id, bbox (x, y, width, height), score.
        truth: annotations: category_id, bbox.

    Returns:
        Whether each prediction is correct, in the given order.

    Source: pycocotools.cocoeval's matching at one threshold, without crowds.
    """
    free = list(truth)
    right = [False] * len(predictions)
    for index in sorted(range(len(predictions)), key=lambda i: -predictions[i]["score"]):
        same = [box for box in free if box["category_id"] == predictions[index]["category_id"]]
        best = max(same, key=lambda box: _iou(box["bbox"], predictions[index]["bbox"]), default=None)
        if best is not None and _iou(best["bbox"], predictions[index]["bbox"]) >= 0.5:
            right[index] = True
            free.remove(best)
    return right


def _iou(a: Sequence[float], b: Sequence[float]) -> float:
    wide = max(0.0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    both = wide * high
    return both / max(a[2] * a[3] + b[2] * b[3] - both, 1e-9)
