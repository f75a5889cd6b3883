"""Class folders without a validation part, and CSV files."""

import csv
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from engine.errors import UserError
from imagesets.classification import OPENERS, Split
from imagesets.folders import describe_counts, open_csv, open_folder, write_split


def make(root, counts):
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8)).save(root / name / f"{number:03}.png")
    return root


def names(part, root):
    return {Path(path).relative_to(root).as_posix() for path, _ in part.samples}


def test_a_part_of_each_class_is_set_aside(tmp_path):
    root = make(tmp_path / "photos", {"cat": 100, "dog": 60, "owl": 2})
    train, val = open_folder(root, 0.2, 0)
    assert names(train, root).isdisjoint(names(val, root))
    assert len(train) + len(val) == 162
    held_out = Counter(val.targets)
    assert 10 <= held_out[0] <= 30
    assert 5 <= held_out[1] <= 20
    assert held_out[2] == 1
    again, other = open_folder(root, 0.2, 0)[1], open_folder(root, 0.2, 1)[1]
    assert names(again, root) == names(val, root)
    assert names(other, root) != names(val, root)
    assert train[0][0].size == (8, 8)


def test_images_that_are_added_move_no_others(tmp_path):
    root = make(tmp_path / "photos", {"cat": 100, "dog": 60})
    before = names(open_folder(root, 0.2, 0)[1], root)
    for number in range(50):
        Image.new("RGB", (8, 8)).save(root / "cat" / f"new{number}.png")
    after = names(open_folder(root, 0.2, 0)[1], root)
    assert {name for name in after if "new" not in name} == before


def test_given_parts_are_used(tmp_path):
    make(tmp_path / "train", {"a": 3, "b": 3})
    make(tmp_path / "valid", {"a": 1, "b": 2})
    source = OPENERS["folder"](tmp_path, Split())
    assert (len(source.train), len(source.val), source.set_aside) == (6, 3, False)
    only_train = tmp_path / "other"
    make(only_train / "train", {"a": 30, "b": 30})
    assert OPENERS["folder"](only_train).set_aside
    make(tmp_path / "test_only" / "test", {"a": 1})
    with pytest.raises(UserError, match="has test/ but no train/"):
        open_folder(tmp_path / "test_only", 0.2, 0)


def test_a_csv_file(tmp_path):
    make(tmp_path / "images", {"x": 20, "y": 20})
    rows = [(f"images/{c}/{n:03}.png", f"class {c}") for c in "xy" for n in range(20)]

    def write(path, header, lines):
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *lines])
        return path

    plain = write(tmp_path / "plain.csv", ("filename", "Label"), rows)
    train, val, set_aside = open_csv(plain, 0.25, 0)
    assert set_aside
    assert train.classes == ["class x", "class y"]
    assert len(train) + len(val) == 40
    parts = [(*row, "train" if index % 4 else "Val") for index, row in enumerate(rows)]
    train, val, set_aside = open_csv(write(tmp_path / "parts.csv", ("image", "class", "split"), parts), 0.25, 0)
    assert (len(train), len(val), set_aside) == (30, 10, False)
    assert val[1][1] == 0
    write_split(train, val, tmp_path / "split.csv")
    again = open_csv(tmp_path / "split.csv", 0.5, 9)
    assert [part.samples for part in again[:2]] == [train.samples, val.samples]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na.png,x\n", "has no column image"),
        ("image,thing\na.png,x\n", "has no column label"),
        ("image,label\nmissing.png,x\n", "line 2: image .*missing.png not found"),
        ("image,label,split\nimages/x/000.png,x,train\n", "must name both train and val"),
        ("image,label\nimages/x/000.png,x\n", "class x of .* has 1 image: two are the least"),
        ("", "has no column image"),
    ],
)
def test_csv_files_that_are_refused(tmp_path, text, message):
    make(tmp_path / "images", {"x": 1})
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        open_csv(tmp_path / "bad.csv", 0.2, 0)


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match="must hold train/ and val/.*or the class folders themselves"):
        open_folder(tmp_path, 0.2, 0)
    make(tmp_path / "photos", {"a": 5, "b": 5})
    with pytest.raises(UserError, match=r"val_share must be in \(0, 1\), got 1.0"):
        open_folder(tmp_path / "photos", 1.0, 0)


def test_unbalanced_classes_are_described():
    assert describe_counts([0] * 30 + [1] * 10, ["a", "b"]) == ""
    assert "b has 9 training images, a has 30" in describe_counts([0] * 30 + [1] * 9, ["a", "b"])
    assert "c has 0 training images" in describe_counts([0] * 30 + [1] * 9, ["a", "b", "c"])
