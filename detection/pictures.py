"""Pictures of detections from what ``train_net.py`` leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image, ImageDraw

from keepcore.run.errors import UserError
from keepcore.run.images import read_rgb

GAP = 6


def detection_sheet(
    output_dir: Path,
    annotations: Path,
    images: Path,
    out: Path,
    *,
    count: int = 8,
    score: float = 0.5,
    scale: int = 1,
) -> None:
    """Draw predictions (green, with their score) over the annotated boxes (white).

    Args:
        output_dir: OUTPUT_DIR of train_net.py, with ``inference/coco_instances_results.json``.
        annotations: COCO JSON of the evaluated set.
        images: its folder of images.
        out: PNG to write.
        count: number of images, spread over the set.
        score: smallest score to show, in [0, 1].
        scale: enlargement.

    Raises:
        UserError: no predictions in the folder.

    Source: the COCO result format.
    """
    path = output_dir / "inference" / "coco_instances_results.json"
    if not path.is_file():
        raise UserError(f"no predictions {path}: run train_net.py to its end, or with --eval-only")
    found, truth = json.loads(path.read_text()), json.loads(annotations.read_text())
    chosen = truth["images"][:: max(1, len(truth["images"]) // count)][:count]
    names = {category["id"]: category["name"] for category in truth["categories"]}
    names |= {category: str(digit) for digit, category in enumerate(truth["info"].get("digits", []))}
    cells = []
    for image in chosen:
        size = (image["width"] * scale, image["height"] * scale)
        cell = read_rgb(images / image["file_name"]).resize(size)
        draw = ImageDraw.Draw(cell)
        for each in truth["annotations"]:
            if each["image_id"] == image["id"]:
                draw.rectangle(_corners(each["bbox"], scale), outline="white")
        for each in found:
            if each["image_id"] == image["id"] and each["score"] >= score:
                corners = _corners(each["bbox"], scale)
                draw.rectangle(corners, outline=(40, 230, 80), width=2)
                draw.text(corners[:2], f"{names[each['category_id']]} {each['score']:.2f}", fill=(40, 230, 80))
        cells.append(cell)
    columns = -(-len(cells) // 2)
    width, height = max(c.width for c in cells) + GAP, max(c.height for c in cells) + GAP
    sheet = Image.new("RGB", (columns * width + GAP, 2 * height + GAP), "white")
    for index, cell in enumerate(cells):
        sheet.paste(cell, (GAP + index % columns * width, GAP + index // columns * height))
    sheet.save(out)


def _corners(bbox: list[float], scale: int) -> tuple[float, float, float, float]:
    x, y, width, height = (value * scale for value in bbox)
    return x, y, x + width, y + height
