"""Classes of one's own: data.yaml, COCO files, what is refused, and training through the real command."""

import itertools
import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from detection import data as command_data
from detection import run as chain
from detection.coco.data_yaml import read_parts
from detection.coco.own import from_coco, from_yolo
from detection.coco.yolo import image_ids
from detection.table11.data import REGISTERED
from engine.errors import UserError
from imagesets.coco import annotation_file, image_folder
from tests.detection.conftest import command

NAMES = ["nut", "bolt"]


@pytest.fixture
def yolo(tmp_path):
    """data.yaml with two parts; image names are numbers; every image has a nut, every second one a bolt."""
    root = tmp_path / "set"
    generator = np.random.default_rng(0)
    for part, count in (("train", 6), ("valid", 4)):
        for folder in ("images", "labels"):
            (root / part / folder).mkdir(parents=True)
        for index in range(count):
            pixels = generator.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / part / "images" / f"{10 * index + 7:012}.jpg")
            lines = ["0 0.5 0.5 0.4 0.4"] + ["1 0.2 0.3 0.2 0.2"] * (index % 2)
            (root / part / "labels" / f"{10 * index + 7:012}.txt").write_text("\n".join(lines))
    # as Roboflow writes it: relative to nothing that exists
    content = {"train": "../train/images", "val": "../valid/images", "nc": 2, "names": NAMES}
    (root / "data.yaml").write_text(yaml.safe_dump(content))
    return root / "data.yaml"


def rewritten(yolo, **changes):
    content = yaml.safe_load(yolo.read_text()) | changes
    yolo.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return yolo


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"train": "train/images", "val": "valid/images"},
        {"path": ".", "train": ["train/images"], "val": "valid/images/"},
        {"names": {0: "nut", 1: "bolt"}, "nc": None},
        {"train": "train.txt"},
    ],
)
def test_the_parts_of_a_data_yaml(changes, yolo):
    listed = sorted((yolo.parent / "train" / "images").iterdir())
    (yolo.parent / "train.txt").write_text("\n".join(f"./train/images/{path.name}" for path in listed))
    parts = read_parts(rewritten(yolo, **changes))
    assert parts.names == tuple(NAMES)
    assert parts.images["train"] == listed
    assert len(parts.images["val"]) == 4


def test_the_path_of_a_data_yaml(yolo, tmp_path, monkeypatch):
    moved = tmp_path / "elsewhere" / "data.yaml"
    moved.parent.mkdir()
    moved.write_text(rewritten(yolo, path="set", train="train/images", val="valid/images").read_text())
    with pytest.raises(UserError, match="train/images not found; tried"):
        read_parts(moved)
    monkeypatch.chdir(tmp_path)  # Ultralytics' path is relative to where its data sets are
    assert len(read_parts(moved).images["train"]) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nc": 3}, "nc: 3, but lists 2 names"),
        ({"names": None}, "class names under 'names'"),
        ({"val": None}, "has no 'val'"),
        ({"val": "test/images"}, "val: test/images not found"),
        ({"val": "valid/labels"}, "valid/labels holds no images"),
    ],
)
def test_a_data_yaml_that_cannot_be_read(changes, message, yolo):
    with pytest.raises(UserError, match=message):
        read_parts(rewritten(yolo, **changes))


def test_from_yolo(yolo, tmp_path):
    own, lines = from_yolo(yolo, tmp_path / "annotations")
    assert (own.classes, own.filled) == (2, 6)
    assert lines[0].endswith("train: 6 images, 9 objects, 0 without objects")
    content = json.loads(own.annotations["train"].read_text())
    assert [image["id"] for image in content["images"]] == [7, 17, 27, 37, 47, 57]  # the names' numbers
    assert (own.images["train"] / content["images"][0]["file_name"]).is_file()
    assert own.options()[:2] == ["DATASETS.TRAIN", "('own_train',)"]
    assert "MODEL.RETINANET.NUM_CLASSES" in own.options()


def test_image_ids(tmp_path):
    assert image_ids([tmp_path / "0005.jpg", tmp_path / "12.png"]) == [5, 12]
    assert image_ids([tmp_path / "5.jpg", tmp_path / "05.png"]) == [1, 2]  # the same number twice
    assert image_ids([tmp_path / "5.jpg", tmp_path / "x.png"]) == [1, 2]


def test_bad_labels_stop_or_are_counted(yolo, tmp_path, capsys):
    label = next((yolo.parent / "train" / "labels").iterdir())
    label.write_text("0 0.5 0.5 0.4 0.4\n0 0.5 0.5 0 0.4\n7 0.5 0.5 0.1 0.1\n")
    with pytest.raises(UserError, match=r"line 2: the box is empty.*--on_bad_box skip"):
        from_yolo(yolo, tmp_path / "annotations")
    assert command_data.main(["yolo", str(yolo), str(tmp_path / "out"), "--on_bad_box", "skip"]) == 0
    printed = capsys.readouterr().out
    assert "2 bad labels left out, e.g. " in printed
    assert f"detection.run --train {annotation_file(tmp_path / 'out', 'train2017')}:" in printed
    assert len(list(image_folder(tmp_path / "out", "val2017").iterdir())) == 4
    assert command_data.main(["yolo", str(yolo), str(tmp_path / "b"), "--on_bad_box", "drop"]) == 2
    assert "skip" in capsys.readouterr().err


def test_names_are_not_guessed(yolo, tmp_path, capsys):
    images = str(yolo.parent / "train" / "images")
    assert command_data.main(["yolo", images, str(tmp_path / "out")]) == 2
    assert "names: give the data.yaml with the class names, or --names coco" in capsys.readouterr().err
    assert command_data.main(["yolo", str(yolo), str(tmp_path / "out"), "--names", "coco"]) == 2
    assert "leave out --names" in capsys.readouterr().err
    assert command_data.main(["yolo", images, str(tmp_path / "out"), "--names", "coco"]) == 0
    assert "80 classes are not" not in capsys.readouterr().out


@pytest.fixture
def coco(yolo, tmp_path):
    """The same as two COCO files whose category ids begin at 0, as many exports do."""
    own, _ = from_yolo(yolo, tmp_path / "coco")
    for file in own.annotations.values():
        content = json.loads(file.read_text())
        for entry in content["categories"]:
            entry["id"] -= 1
        for entry in content["annotations"]:
            entry["category_id"] -= 1
        file.write_text(json.dumps(content))
    return {part: f"{own.annotations[part]}:{own.images[part]}" for part in ("train", "val")}


def test_problems_are_found_before_the_training(coco, tmp_path):
    assert from_coco(coco).classes == 2
    for specs, message in (
        ({"train": coco["train"]}, "val: give --train"),
        (coco | {"val": "x.json"}, "val: expected ANNOTATIONS.json:IMAGES, got 'x.json'"),
        (coco | {"val": f"x.json:{tmp_path}"}, "x.json not found"),
        (coco | {"val": f"x.json:{tmp_path}/none"}, "image folder .*none not found"),
        (coco | {"val": f"{coco['val'].split(':')[0]}:{tmp_path}"}, "4 images are missing"),
    ):
        with pytest.raises(UserError, match=message):
            from_coco(specs)
    path = Path(coco["val"].split(":")[0])
    content = json.loads(path.read_text())
    for change, message in (
        ({"categories": [{"id": 0, "name": "bolt"}, {"id": 1, "name": "nut"}]}, "different categories, e.g. id 0"),
        ({"categories": content["categories"][:1]}, "category_id that is not in the set"),
        ({"annotations": []}, "no objects"),
        (
            {"categories": content["categories"], "images": content["images"] + content["images"][:1]},
            "values of id occur more than once",
        ),
    ):
        path.write_text(json.dumps(content | change))
        with pytest.raises(UserError, match=message):
            from_coco(coco)


def test_every_process_registers_the_data(coco, tmp_path, monkeypatch):
    """The processes of several GPUs import the file under another name than __main__."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    path = from_coco(coco).write(tmp_path, begun=False)
    monkeypatch.setenv("KEEPAUGMENT_DATASETS", str(path))
    runpy.run_path(str(REGISTERED), run_name="__mp_main__")
    try:
        assert len(DatasetCatalog.get("own_train")) == 6
        assert MetadataCatalog.get("own_val").evaluator_type == "coco"
    finally:
        for name in ("own_train", "own_val"):
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def test_crowds_alone_and_truncated_images_are_found(coco, tmp_path):
    path = Path(coco["train"].split(":")[0])
    content = json.loads(path.read_text())
    crowds = [entry | {"iscrowd": 1} for entry in content["annotations"]]
    path.write_text(json.dumps(content | {"annotations": crowds}))
    with pytest.raises(UserError, match="all objects are crowds"):
        from_coco(coco)
    path.write_text(json.dumps(content))
    image = Path(coco["train"].split(":")[1]) / content["images"][0]["file_name"]
    image.write_bytes(image.read_bytes()[:-200])
    with pytest.raises(UserError, match=f"1 images cannot be read.*{image.name}"):
        from_coco(coco)


def test_a_run_goes_on_with_the_same_annotations_alone(coco, tmp_path):
    own = from_coco(coco)
    own.write(tmp_path / "run", begun=False)
    own.write(tmp_path / "run", begun=True)
    moved = tmp_path / "moved.json"
    moved.write_bytes(Path(coco["train"].split(":")[0]).read_bytes())
    elsewhere = from_coco(coco | {"train": f"{moved}:{coco['train'].split(':')[1]}"})
    elsewhere.write(tmp_path / "run", begun=True)  # the same content in another place
    content = json.loads(moved.read_text())
    content["categories"][0]["name"], content["categories"][1]["name"] = "bolt", "nut"
    path = Path(coco["val"].split(":")[0])
    for file in (moved, path):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"categories": content["categories"]}))
    swapped = from_coco(coco | {"train": f"{moved}:{coco['train'].split(':')[1]}"})
    with pytest.raises(UserError, match="the run was started with other data"):
        swapped.write(tmp_path / "run", begun=True)


@pytest.mark.slow
def test_training_on_own_classes(coco, yolo, sources, tmp_path):
    base = [
        "-m",
        "detection.run",
        "--backbone",
        sources[50],
        "--row",
        "fpn_r50",
        "--quick",
        "SOLVER.MAX_ITER",
        "1",
    ]
    for name, data in (
        ("coco", ["--train", coco["train"], "--val", coco["val"]]),
        ("yolo", ["--data", yolo]),
    ):
        out = tmp_path / name
        argv = [*base[:2], *data, "--output", out, *base[2:]]
        assert "every backbone tensor is filled" in command(*argv)
        config = (out / "config.yaml").read_text()
        assert config.count("NUM_CLASSES: 2") == 2
        last = json.loads((out / "metrics.json").read_text().splitlines()[-1])
        assert {"bbox/AP-nut", "bbox/AP-bolt"} <= last.keys()
    resumed = command(*argv[:2], "--resume", *argv[2:-1], "2")
    assert "Starting training from iteration 1" in resumed
    label = next((yolo.parent / "train" / "labels").iterdir())
    label.write_text("1 0.5 0.5 0.4 0.4\n")
    refused = command(*argv[:2], "--resume", *argv[2:-1], "3", code=2)
    assert "the run was started with other data" in refused


def test_epochs_scale_the_schedule(coco, sources, tmp_path, monkeypatch, capsys):
    """Six images, two per step, 21 epochs: 63 iterations, with the row's steps at 7/9 and 25/27 of them."""
    calls = []
    monkeypatch.setattr("detection.table11.run.run_to_end", lambda words, *more: calls.append(words) or 3)
    argv = [
        "--backbone",
        str(sources[50]),
        "--row",
        "fpn_r50",
        "--num-gpus",
        "0",
        "--output",
        str(tmp_path / "run"),
    ]
    argv += ["--train", coco["train"], "--val", coco["val"]]
    assert chain.main([*argv, "--epochs", "21", "SOLVER.IMS_PER_BATCH", "2"]) == 3
    words = calls[0]
    options = {key: value for key, value in itertools.pairwise(words) if key.startswith("SOLVER")}
    assert options["SOLVER.MAX_ITER"] == "63"
    assert options["SOLVER.STEPS"] == "(49,58)"
    assert options["SOLVER.WARMUP_ITERS"] == "6"
    assert float(options["SOLVER.BASE_LR"]) == pytest.approx(0.02 * 2 / 16)
    assert options["SOLVER.CHECKPOINT_PERIOD"] == "6"
    assert words[:3] == [sys.executable, "-P", str(REGISTERED)]
    assert "KEEPAUGMENT_DATASETS=" in capsys.readouterr().out
    assert chain.main(argv) == 3
    assert "270000 iterations of 16 are 720000 epochs of 6 images; see --epochs" in capsys.readouterr().out
    for wrong, message in (
        (["--epochs", "-1"], "epochs must be at least 0"),
        (["--data", str(tmp_path)], "give either --data or --train and --val"),
    ):
        assert chain.main([*argv, *wrong]) == 2
        assert message in capsys.readouterr().err
    assert chain.main([*argv[:-4], "--epochs", "3", "--data", str(tmp_path)]) == 2
    assert "epochs: COCO's schedule is the row's" in capsys.readouterr().err
