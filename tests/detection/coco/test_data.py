"""YOLO to COCO, subsets, and what the check of a folder finds."""

import json

import numpy as np
import pytest
from PIL import Image

from detection import data as command
from detection.coco.check import PUBLISHED, inspect
from detection.coco.data_yaml import list_images, read_names
from detection.coco.folder import COCO_CATEGORIES, COCO_NAMES
from detection.coco.subset import subset
from detection.coco.yolo import yolo_to_coco
from engine.errors import UserError
from imagesets.coco import annotation_file, image_folder


def test_cocos_categories():
    assert len(COCO_CATEGORIES) == 80
    assert (COCO_CATEGORIES[0], COCO_CATEGORIES[-1]) == (
        {"id": 1, "name": "person"},
        {"id": 90, "name": "toothbrush"},
    )
    from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES as official

    things = {each["id"]: each["name"] for each in official if each["isthing"]}
    assert {each["id"]: each["name"] for each in COCO_CATEGORIES} == things


# --------------------------------------------------------------------------------------------------------- YOLO


@pytest.fixture
def yolo(tmp_path):
    """Three images: a box and a polygon; no label file; one that EXIF turns."""
    images, labels = tmp_path / "y" / "images" / "train", tmp_path / "y" / "labels" / "train"
    (images / "more").mkdir(parents=True)
    (labels / "more").mkdir(parents=True)
    picture = Image.fromarray(np.full((60, 100, 3), 90, np.uint8))
    picture.save(images / "a.jpg")
    picture.save(images / "b.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(images / "more" / "c.jpg", exif=exif)
    (labels / "a.txt").write_text("2 0.5 0.5 0.2 0.5\n\n0 0.1 0.2 0.3 0.2 0.3 0.6\n")
    (labels / "more" / "c.txt").write_text("79 0.5 0.5 1.005 1\n")
    return images


def converted(images, names, out, split, **options):
    return yolo_to_coco(list_images(images), images.absolute(), names, out, split, **options)


def test_converted(yolo, tmp_path):
    out = tmp_path / "out"
    counts = converted(yolo, COCO_NAMES, out, "train2017")
    assert counts.counts() == "3 images, 3 objects, 1 without objects"
    content = json.loads(annotation_file(out, "train2017").read_text())
    sizes = {image["file_name"]: (image["width"], image["height"]) for image in content["images"]}
    assert sizes == {"a.jpg": (100, 60), "b.png": (100, 60), "more/c.jpg": (60, 100)}
    car, person, brush = content["annotations"]
    assert (car["category_id"], car["bbox"], car["area"]) == (3, [40.0, 15.0, 20.0, 30.0], 600.0)
    assert (person["category_id"], person["bbox"]) == (1, [10.0, 12.0, 20.0, 24.0])
    assert person["segmentation"] == [[10.0, 12.0, 30.0, 12.0, 30.0, 36.0]]
    assert (brush["category_id"], brush["bbox"]) == (90, [0.0, 0.0, 60.0, 100.0])  # clipped, and turned
    assert inspect_with(out, "train2017") == []
    assert converted(yolo, COCO_NAMES, out, "train2017") == counts  # again, over itself
    (image_folder(out, "train2017") / "a.jpg").unlink()
    (image_folder(out, "train2017") / "a.jpg").write_bytes(b"another")
    with pytest.raises(UserError, match="is a different image"):
        converted(yolo, COCO_NAMES, out, "train2017")


def inspect_with(out, split):
    return [text for text in inspect(out).problems if text.startswith(split)]


def test_detectron2_reads_it(yolo, tmp_path):
    from detectron2.data.datasets import load_coco_json

    out = tmp_path / "out"
    converted(yolo, COCO_NAMES, out, "val2017")
    read = load_coco_json(str(annotation_file(out, "val2017")), str(image_folder(out, "val2017")))
    assert [len(each["annotations"]) for each in read] == [2, 0, 1]


def test_own_classes(yolo, tmp_path, capsys):
    (tmp_path / "data.yaml").write_text("names: {0: nut, 1: bolt, 2: screw}\n")
    (yolo.parents[1] / "labels" / "train" / "more" / "c.txt").unlink()
    argv = ["yolo", str(yolo), str(tmp_path / "out"), "--names", str(tmp_path / "data.yaml"), "--split", "val2017"]
    assert command.main(argv) == 0
    assert "detection.run --train" in capsys.readouterr().out
    content = json.loads(annotation_file(tmp_path / "out", "val2017").read_text())
    assert [each["name"] for each in content["categories"]] == ["nut", "bolt", "screw"]
    assert [each["category_id"] for each in content["annotations"]] == [3, 1]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("80 0.5 0.5 0.2 0.2", "line 1: class must be an integer from 0 to 79, got 80"),
        ("1.5 0.5 0.5 0.2 0.2", "class must be an integer from 0 to 79, got 1.5"),
        ("0 0.5 0.5 0.2", "3 numbers"),
        ("0 0.5 0.5 0.2 0.2 0.3", "5 numbers"),
        ("0 0.5 x 0.2 0.2", "could not convert"),
        ("0 1.5 0.5 0.2 0.2", "not inside the image"),
        ("0 0.5 0.5 0 0.2", "is empty"),
        ("0 nan 0.5 0.2 0.2", "not inside"),
        ("0 100 50 20 20", "not inside the image"),
    ],
)
def test_bad_labels(line, message, yolo, tmp_path):
    (yolo.parents[1] / "labels" / "train" / "a.txt").write_text(line)
    with pytest.raises(UserError, match=f"a.txt, line 1.*{message.removeprefix('line 1: ')}"):
        converted(yolo, COCO_NAMES, tmp_path / "out", "train2017")
    assert not annotation_file(tmp_path / "out", "train2017").exists()


def test_labels_that_are_nowhere_or_no_text(yolo, tmp_path):
    label = yolo.parents[1] / "labels" / "train" / "a.txt"
    label.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="a.txt is not a text file"):
        converted(yolo, COCO_NAMES, tmp_path / "out", "train2017")
    for path in (yolo.parents[1] / "labels").rglob("*.txt"):
        path.unlink()
    with pytest.raises(UserError, match="none of the 3 images has labels"):
        converted(yolo, COCO_NAMES, tmp_path / "out", "train2017")


def test_bad_yolo_folders(tmp_path):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(UserError, match="no images"):
        converted(tmp_path / "pictures", COCO_NAMES, tmp_path / "out", "train2017")
    Image.new("RGB", (4, 4)).save(tmp_path / "pictures" / "a.png")
    with pytest.raises(UserError, match="not inside a folder named images"):
        converted(tmp_path / "pictures", COCO_NAMES, tmp_path / "out", "train2017")
    for text, message in (
        ("names: person", "class names under 'names'"),
        ("names: 3", "class names under 'names'"),
        ("a: [", "class names under 'names'"),
        (None, "cannot read"),
    ):
        path = tmp_path / "data.yaml"
        path.unlink(missing_ok=True)
        if text:
            path.write_text(text)
        with pytest.raises(UserError, match=message):
            read_names(path)


# ------------------------------------------------------------------------------------------------------- subset


def test_subsets_are_deterministic_and_nested(demo, tmp_path):
    root = demo / "detection"
    chosen = {}
    for count, name in ((3, "a"), (3, "b"), (7, "c")):
        subset(root, tmp_path / name, "train2017", count)
        content = json.loads(annotation_file(tmp_path / name, "train2017").read_text())
        chosen[name] = {image["id"] for image in content["images"]}
        assert len(chosen[name]) == count
        assert {each["image_id"] for each in content["annotations"]} <= chosen[name]
        assert len(content["categories"]) == 80
        assert len(list(image_folder(tmp_path / name, "train2017").iterdir())) == count
    assert chosen["a"] == chosen["b"] < chosen["c"]
    subset(root, tmp_path / "d", "train2017", 3, seed=1)
    other = json.loads(annotation_file(tmp_path / "d", "train2017").read_text())
    assert {image["id"] for image in other["images"]} != chosen["a"]
    source = json.loads(annotation_file(root, "train2017").read_text())
    by_id = {each["id"]: each for each in source["annotations"]}
    assert all(by_id[each["id"]] == each for each in other["annotations"])


def test_a_named_subset_lies_in_the_set_itself(demo, tmp_path, capsys):
    subset(demo / "detection", tmp_path / "d", "val2017", 5)
    assert command.main(["subset", str(tmp_path / "d"), str(tmp_path / "d"), "2", "--name", "val2017_100"]) == 0
    assert len(json.loads(annotation_file(tmp_path / "d", "val2017_100").read_text())["images"]) == 2
    assert len(list((tmp_path / "d" / "coco" / "val2017").iterdir())) == 5
    for out, count, message in (
        ("d", 2, "the source itself"),
        ("e", 99, "must be 1 to 5"),
        ("e", 0, "must be 1 to 5, the number of images in val2017, got 0"),
    ):
        assert command.main(["subset", str(tmp_path / "d"), str(tmp_path / out), str(count)]) == 2
        assert message in capsys.readouterr().err


# -------------------------------------------------------------------------------------------------------- check


@pytest.fixture
def coco(demo, tmp_path):
    """A small good set, and a function that changes its val2017 annotations."""
    root = tmp_path / "set"
    for split in ("train2017", "val2017"):
        subset(demo / "detection", root, split, 4)
    path = annotation_file(root, "val2017")

    def change(edit):
        content = json.loads(path.read_text())
        edit(content)
        path.write_text(json.dumps(content))

    return root, change


def test_a_good_set(coco):
    root, _ = coco
    counts, problems = inspect(root, decode=True)
    assert problems == []
    assert len(counts) == 2
    assert f"published: {PUBLISHED['val2017'][0]}" in counts[1]


FAULTS = {
    "category ids": (lambda c: c["categories"].pop(), "not COCO's 80"),
    "missing image": (lambda c: c["images"][0].update(file_name="gone.jpg"), "1 images are missing .*gone.jpg"),
    "size": (lambda c: c["images"][0].update(width=7), "differ in size"),
    "image twice": (lambda c: c["images"].append(c["images"][0]), "1 values of id occur more than once"),
    "annotation twice": (lambda c: c["annotations"].append(c["annotations"][0]), "annotations: 1 values of id"),
    "foreign image": (lambda c: c["annotations"][0].update(image_id=10**6), "an image_id that is not in the set"),
    "foreign category": (
        lambda c: c["annotations"][0].update(category_id=12),
        "a category_id that is not in the set",
    ),
    "no images": (lambda c: c.update(images=[]), "no images"),
    "empty box": (lambda c: c["annotations"][0].update(bbox=[1, 1, 0, 5]), "an empty box"),
    "outside": (lambda c: c["annotations"][0].update(bbox=[100, 1, 60, 5]), "extends beyond the image"),
    "no crowd": (lambda c: c["annotations"][0].pop("iscrowd"), "lack iscrowd or area"),
    "no box": (lambda c: c["annotations"][0].pop("bbox"), "lack bbox"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(fault, coco):
    import re

    root, change = coco
    edit, message = FAULTS[fault]
    change(edit)
    problems = inspect(root).problems
    assert any(text.startswith("val2017: ") and re.search(message, text) for text in problems), problems


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["images"][1].pop("id"), r"images\[1\]: id must be int, got None"),
        (lambda c: c["images"][1].pop("file_name"), "file_name must be str"),
        (lambda c: c["images"][1].update(id="7"), "id must be int, got '7'"),
        (lambda c: c["images"].insert(0, None), r"images\[0\] is not a JSON object"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), r"annotations\[0\]: bbox must be four"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, "3", 4]), "bbox must be four"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 4]), "four finite numbers"),
        (lambda c: c["annotations"][0].pop("image_id"), "image_id must be int"),
        (lambda c: c["categories"][3].pop("name"), r"categories\[3\]: name must be str"),
    ],
)
def test_entries_that_are_no_entries(edit, message, coco, tmp_path, capsys):
    import re

    root, change = coco
    change(edit)
    for argv in (["check", str(root)], ["subset", str(root), str(tmp_path / "out"), "2"]):
        assert command.main(argv) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert re.search(message, error), error


def test_names_of_subsets(coco, tmp_path):
    root, _ = coco
    with pytest.raises(UserError, match="letters, digits"):
        subset(root, tmp_path / "out", "val2017", 2, name="../evil")
    assert not (tmp_path / "out").exists()


def test_unreadable_images_and_files(coco, capsys):
    root, _ = coco
    path = next((root / "coco" / "val2017").iterdir())
    whole = path.read_bytes()
    path.unlink()  # it may be a link to the demo set's image
    path.write_bytes(whole[: len(whole) // 2])
    assert inspect(root).problems == []
    assert "1 images cannot be read" in inspect(root, decode=True).problems[0]
    assert command.main(["check", str(root), "--decode"]) == 1
    assert "WRONG: val2017: 1 images cannot be read" in capsys.readouterr().out
    annotation_file(root, "train2017").unlink()
    assert any(text.endswith("instances_train2017.json not found") for text in inspect(root).problems)
    annotation_file(root, "val2017").write_text('{"images": [')
    assert command.main(["check", str(root)]) == 2
    annotation_file(root, "val2017").write_text("[]")
    assert command.main(["check", str(root)]) == 2
    assert command.main(["check", str(root / "nowhere")]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert [
        "is truncated" in errors[0],
        "no list 'images'" in errors[1],
        "no coco/annotations" in errors[2],
    ] == [True] * 3


def test_commands(capsys):
    assert command.main(["--help"]) == 0
    assert command.main(["chek"]) == 2
    assert "did you mean 'check'" in capsys.readouterr().err
    assert command.main(["subset", "only"]) == 2
