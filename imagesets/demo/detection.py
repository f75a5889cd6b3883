"""Scenes of one to four digits in the layout that ``DETECTRON2_DATASETS`` expects of COCO.

The unmodified train_net.py accepts only COCO's 80 categories, with their ids and names, so digit d has those of
COCO's d-th category; ``info.digits`` in the annotation files lists the ten ids.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from imagesets.demo.paint import Paint, colour, put, stroke, write

SIDE = 128
# Official ids of COCO's 80 categories: 1..90 without the ten that were never used.
CATEGORY_IDS = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]

CATEGORY_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic_light, fire_hydrant,
stop_sign, parking_meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe,
backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, sports_ball, kite,
baseball_bat, baseball_glove, skateboard, surfboard, tennis_racket, bottle, wine_glass, cup, fork,
knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot, hot_dog, pizza, donut, cake,
chair, couch, potted_plant, bed, dining_table, toilet, tv, laptop, mouse, remote, keyboard,
cell_phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy_bear,
hair_drier, toothbrush
""".replace("\n", " ").split(", ")


def make(root: Path, paint: Paint, seed: int, counts: dict[str, int]) -> None:
    """Write ``coco/{train2017,val2017}/*.jpg``, ``coco/annotations/instances_*.json`` and ``coco/masks``.

    Source: the demo set's own design; file format of cocodataset.org.
    """
    coco = root / "coco"
    (coco / "annotations").mkdir(parents=True)
    for part_index, (part, count) in enumerate(counts.items()):
        (coco / part).mkdir()
        (coco / "masks" / part).mkdir(parents=True)
        rng = np.random.default_rng([seed, 2, part_index])
        images: list[dict[str, Any]] = []
        objects: list[dict[str, Any]] = []
        for number in range(1, count + 1):
            name = f"{number:012d}"
            image, mask, digits = _scene(rng, paint, part)
            write(image, mask, coco / part / f"{name}.jpg", coco / "masks" / part / f"{name}.png")
            images.append({"id": number, "file_name": f"{name}.jpg", "height": SIDE, "width": SIDE})
            objects += [_annotation(len(objects) + i + 1, number, *digit) for i, digit in enumerate(digits)]
        content = {
            "info": {"description": "KeepAugment demo scenes", "digits": CATEGORY_IDS[:10]},
            "images": images,
            "annotations": objects,
            "categories": _categories(),
        }
        (coco / "annotations" / f"instances_{part}.json").write_text(json.dumps(content))


def _categories() -> list[dict[str, Any]]:
    names = [name.strip().replace("_", " ") for name in CATEGORY_NAMES]
    return [{"id": i, "name": name} for i, name in zip(CATEGORY_IDS, names, strict=True)]


def _scene(rng: np.random.Generator, paint: Paint, part: str) -> tuple[Any, Any, list[tuple[int, list[int]]]]:
    image = paint.background(rng, SIDE, SIDE)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    digits: list[tuple[int, list[int]]] = []
    places: list[tuple[int, int, int]] = []
    for _ in range(int(rng.integers(1, 5))):
        digit, size = int(rng.integers(10)), int(rng.integers(26, 52))
        top, left = (int(v) for v in rng.integers(0, SIDE - size + 1, 2))
        clear = all(
            abs(top + size / 2 - t - s / 2) > (size + s) * 0.4
            or abs(left + size / 2 - x - s / 2) > (size + s) * 0.4
            for t, x, s in places
        )
        if not clear:
            continue
        places.append((top, left, size))
        alpha = stroke(paint.pick(rng, digit, part), size, size, float(rng.uniform(-15, 15)))
        box = put(image, mask, alpha, top, left, colour(rng)).tolist()
        digits.append((digit, box))
    return image, mask, digits


def _annotation(number: int, image: int, digit: int, box: list[int]) -> dict[str, Any]:
    y0, x0, y1, x1 = box
    return {
        "id": number,
        "image_id": image,
        "category_id": CATEGORY_IDS[digit],
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
    }
