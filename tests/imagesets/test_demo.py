import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from imagesets.demo.detection import CATEGORY_IDS
from imagesets.demo.make import ensure


def digest(root):
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_same_seed_same_bytes_and_cached(demo, tmp_path):
    again = ensure(tmp_path / "again", small=True)
    assert digest(again) == digest(demo)
    marker = again / "classification" / "marker"
    marker.touch()
    ensure(again, small=True)
    assert marker.exists()
    ensure(again, seed=1, small=True)
    assert not marker.exists()
    other = digest(again)
    same = [name for name in other if other[name] == digest(demo).get(name) and "masks" not in name]
    assert len(same) < 5


def test_a_folder_with_something_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="not empty"):
        ensure(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "x"


def test_masks_mark_the_objects(demo):
    coco = json.loads((demo / "detection/coco/annotations/instances_val2017.json").read_text())
    assert [c["id"] for c in coco["categories"]] == CATEGORY_IDS
    for image in coco["images"]:
        mask = np.asarray(Image.open(demo / f"detection/coco/masks/val2017/{image['id']:012d}.png")) > 0
        union = np.zeros_like(mask)
        for each in coco["annotations"]:
            if each["image_id"] == image["id"]:
                x, y, w, h = each["bbox"]
                assert mask[y : y + h, x : x + w].any(1).all()
                union[y : y + h, x : x + w] = True
        assert not mask[~union].any()


def test_layouts(demo):
    assert len(list((demo / "classification/train").rglob("*.jpg"))) == 400
    assert len(list((demo / "reid/query").glob("*.jpg"))) == 4 * 4
    names = [p.name for p in (demo / "reid/bounding_box_test").glob("*.jpg")]
    assert any(name.startswith("0000_") for name in names)
    assert any(name.startswith("-1_") for name in names)
