"""The sheet of detections: which boxes are right, and what is drawn."""

import json

import numpy as np
from PIL import Image

from detection import pictures as command
from detection.coco.pictures import RIGHT, WRONG, matches


def prediction(box, score, category=1, image=1):
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def test_matching():
    truth = [{"category_id": 1, "bbox": [0, 0, 10, 10]}, {"category_id": 2, "bbox": [20, 20, 10, 10]}]
    found = [
        prediction([0, 0, 10, 9], 0.6),  # right, but a better one takes the annotation
        prediction([0, 0, 10, 10], 0.9),
        prediction([20, 20, 10, 10], 0.9),  # another class
        prediction([20, 20, 10, 5.1], 0.5, 2),
        prediction([0, 0, 10, 4.9], 0.99),  # IoU below a half
    ]
    assert matches(found, truth) == [False, True, False, True, False]
    assert matches([], truth) == []
    assert matches(found[:1], []) == [False]


def test_the_command(demo, tmp_path, monkeypatch, capsys):
    root = demo / "detection"
    truth = json.loads((root / "coco" / "annotations" / "instances_val2017.json").read_text())
    first = truth["annotations"][0]
    runs = []
    x, y, width, height = first["bbox"]
    for name, shift in (("good", 0), ("bad", 50 if x < 40 else -40)):
        found = [prediction([x + shift, y, width, height], 0.9, first["category_id"], first["image_id"])]
        found += [prediction([1, 1, 20, 20], 0.2, first["category_id"], first["image_id"])]
        runs.append(tmp_path / name)
        (runs[-1] / "inference").mkdir(parents=True)
        (runs[-1] / "inference" / "coco_instances_results.json").write_text(json.dumps(found))
    out = tmp_path / "sheets" / "s.png"
    argv = [*map(str, runs), "--data", str(root), "--out", str(out), "--count", "3", "--scale", "2"]
    assert command.main(argv) == 0
    sheet = np.array(Image.open(out))
    assert sheet.shape == (2 * (256 + 6) + 6, 3 * (256 + 6) + 6, 3)
    good, bad = sheet[: sheet.shape[0] // 2], sheet[sheet.shape[0] // 2 :]
    assert (good == RIGHT).all(-1).sum() > 50
    assert not (good == WRONG).all(-1).any()
    assert (bad == WRONG).all(-1).sum() > 50
    assert command.main([str(tmp_path), "--data", str(root), "--out", str(out)]) == 2
    assert command.main([str(runs[0]), "--data", str(tmp_path)]) == 2
    assert command.main([str(runs[0]), "--data", str(root), "--count", "0"]) == 2
    stray = tmp_path / "stray.json"
    stray.write_text(json.dumps([prediction([1, 1, 2, 2], 0.9, first["category_id"], 10**6)]))
    assert command.main([str(stray), "--data", str(root), "--out", str(out)]) == 2
    whole = out.read_bytes()

    def full(image, file, kind):
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    assert command.main([str(runs[0]), "--data", str(root), "--out", str(out)]) == 2
    assert out.read_bytes() == whole
    assert command.main([str(runs[0]), "--data", str(root), "--out", str(tmp_path / "s.txt")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 6
    assert "coco_instances_results.json not found" in errors[0]
