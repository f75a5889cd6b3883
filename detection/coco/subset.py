"""Selects a small part of a COCO set, the same every time."""

import random
import re
from pathlib import Path

from detection.coco.folder import place, write_annotations
from detection.data import SubsetOptions
from engine.errors import UserError
from imagesets.coco import annotation_file, image_folder, read_annotations


def run(options: SubsetOptions) -> None:
    """Write the subset and print its counts, for ``python -m detection.data subset``."""
    root, out = Path(options.root), Path(options.out)
    counts = subset(root, out, options.split, options.count, seed=options.seed, name=options.name)
    split = options.name or options.split
    print(f"{options.out}/coco: {split}: {counts['images']} images, {counts['objects']} objects")


def subset(root: Path, out: Path, split: str, count: int, *, seed: int = 0, name: str = "") -> dict[str, int]:
    """Select some images of a split with their annotations; ids and categories are unchanged.

    Args:
        root: folder that holds ``coco/`` (DETECTRON2_DATASETS).
        out: another such folder, or the same one with a different ``name``.
        split: train2017 or val2017.
        count: number of images; a larger count includes the images of every smaller one.
        seed: random seed of the selection.
        name: name of the new split; "" keeps the old one. Detectron2 calls val2017_100 coco_2017_val_100.

    Returns:
        Counts: images, objects.

    Raises:
        UserError: there are too few images, an image is missing, or the output would replace its source.
    """
    name = name or split
    if not re.fullmatch(r"\w+", name):
        raise UserError(f"name: {name!r} may contain only letters, digits and underscores")
    if annotation_file(out, name).resolve() == annotation_file(root, split).resolve():
        raise UserError(f"out: {out} is the source itself: give another folder, or a --name such as {split}_100")
    content = read_annotations(annotation_file(root, split))
    images = sorted(content["images"], key=lambda image: image["id"])
    if not 0 < count <= len(images):
        raise UserError(f"count: must be 1 to {len(images)}, the number of images in {split}, got {count}")
    random.Random(seed).shuffle(images)
    selected = {image["id"]: image for image in images[:count]}
    objects = [entry for entry in content["annotations"] if entry["image_id"] in selected]
    for image in selected.values():
        source = image_folder(root, split) / image["file_name"]
        if not source.is_file():
            raise UserError(f"image {source} not found: python -m detection.data check lists all problems")
        place(source, image_folder(out, name) / image["file_name"])
    kept = {**content, "images": sorted(selected.values(), key=lambda image: image["id"]), "annotations": objects}
    write_annotations(kept, annotation_file(out, name))
    return {"images": len(selected), "objects": len(objects)}
