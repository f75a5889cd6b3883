"""Scoring predictions again: the engines agree with one another and with a hand-made case."""

import json
import math

import numpy as np
import pytest

from detection import rescore as command
from detection.coco.rescore import ENGINES, STATS, pick_engine, score
from engine.errors import UserError


@pytest.fixture(scope="module")
def annotations(demo):
    return demo / "detection" / "coco" / "annotations" / "instances_val2017.json"


def noisy(annotations, seed=0):
    """Predictions near the annotations, with jitter, duplicates, wrong classes and ties among the scores."""
    rng, truth = np.random.default_rng(seed), json.loads(annotations.read_text())
    found = []
    for each in truth["annotations"]:
        for _ in range(int(rng.integers(0, 4))):
            box = (np.array(each["bbox"]) + rng.normal(0, 3, 4)).clip(1).tolist()
            wrong = rng.random() < 0.2
            category = truth["info"]["digits"][int(rng.integers(10))] if wrong else each["category_id"]
            score = round(float(rng.random()), 1)
            found.append({"image_id": each["image_id"], "category_id": category, "bbox": box, "score": score})
    return found


@pytest.mark.parametrize("seed", range(4))
def test_the_engines_agree(annotations, seed):
    found = noisy(annotations, seed)
    fast, slow = (score(found, annotations, engine) for engine in ENGINES)
    assert 5 < slow.stats["AP"] < 90
    for name in STATS:
        assert fast.stats[name] == pytest.approx(slow.stats[name], abs=1e-9, nan_ok=True)
    assert fast.classes == pytest.approx(slow.classes, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_case_by_hand(engine, tmp_path):
    """Two images with one object each. One is found, with IoU 0.81 and the better score, and one missed:
    precision 1 up to recall 0.5 at the seven thresholds up to 0.8, so AP = 7/10 * 51/101."""
    truth = {
        "images": [{"id": i, "width": 100, "height": 100, "file_name": f"{i}.jpg"} for i in (1, 2)],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 7, "bbox": [10, 10, 50, 50], "area": 2500, "iscrowd": 0}
            for i in (1, 2)
        ],
    }
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    found = [{"image_id": 1, "category_id": 7, "bbox": [10, 10, 45, 45], "score": 0.9}]
    found += [{"image_id": 2, "category_id": 7, "bbox": [70, 70, 20, 20], "score": 0.5}]
    scores = score(found, path, engine)
    assert scores.stats["AP"] == pytest.approx(100 * 0.7 * 51 / 101)
    assert scores.stats["AP50"] == pytest.approx(100 * 51 / 101)
    assert scores.classes["cat"] == pytest.approx(scores.stats["AP"])
    assert math.isnan(scores.classes["dog"])
    assert math.isnan(scores.stats["APl"])


def test_nothing_found(annotations):
    assert all(math.isnan(value) for value in score([], annotations).stats.values())


def test_the_command(annotations, tmp_path, capsys):
    run = tmp_path / "run"
    (run / "inference").mkdir(parents=True)
    (run / "inference" / "coco_instances_results.json").write_text(json.dumps(noisy(annotations)))
    out = tmp_path / "out.json"
    assert command.main([str(run), str(annotations), "--per_class", "--json_file", str(out)]) == 0
    said = capsys.readouterr()
    assert "AP50" in said.out
    assert "faster_coco_eval" in said.err
    told = json.loads(out.read_text(), parse_constant=pytest.fail)
    assert told["stats"]["APl"] is None
    assert f"AP {told['stats']['AP']:.3f}" in said.out


def test_mistakes(annotations, tmp_path, monkeypatch, capsys):
    found = tmp_path / "found.json"
    found.write_text(json.dumps([{"image_id": 10**6, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]))
    torn = tmp_path / "torn.json"
    torn.write_text('[{"image_id"')
    other = tmp_path / "other.json"
    other.write_text('{"images": []}')
    good = tmp_path / "good.json"
    good.write_text(json.dumps(noisy(annotations)))
    count = iter(range(100))

    def bad(content):
        path = tmp_path / f"bad{next(count)}.json"
        path.write_text(json.dumps(content))
        return path

    def lacking(key):
        content = json.loads(annotations.read_text())
        content["annotations"] = [{k: v for k, v in a.items() if k != key} for a in content["annotations"] if key]
        return bad(content)

    for argv, message in (
        ([found, annotations], "predictions are for a different data set"),
        ([torn, annotations], "is truncated"),
        ([other, annotations], "not a list of COCO predictions"),
        (
            [bad([{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1], "score": 1}]), annotations],
            "prediction 0: bbox",
        ),
        (
            [bad([{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, "1"], "score": 1}]), annotations],
            "prediction 0",
        ),
        ([bad([{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": None}]), annotations], "finite"),
        ([bad([{"image_id": "1", "category_id": 1, "bbox": [0, 0, 1, 1], "score": 1}]), annotations], "integers"),
        ([bad([5]), annotations], "not a COCO prediction"),
        ([good, lacking("area")], "lack id, bbox, area or iscrowd"),
        ([good, lacking("bbox")], "lack id, bbox, area or iscrowd"),
        ([good, lacking(None)], "has no annotated objects"),
        ([tmp_path, annotations], "--eval-only"),
        ([found, torn], "is truncated"),
        ([found, annotations, "--engine", "fast"], "got 'fast'"),
    ):
        assert command.main([str(word) for word in argv]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name.startswith("faster") else name)
    assert pick_engine("auto") == "pycocotools"
    with pytest.raises(UserError, match="pip install faster-coco-eval"):
        pick_engine("faster_coco_eval")
