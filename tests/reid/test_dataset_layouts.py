"""Names, folders, lists and CSV files; junk, distractors, cameras; and the check of a data set."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.errors import UserError
from reid import data as command
from reid.check_data import PUBLISHED, inspect, why_no_positive
from reid.config import Data
from reid.dataset_layouts import GALLERY, PARTS, QUERY, TRAIN, Photo, assemble, guess, market, open_source


def touch(path, picture=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    if picture:
        Image.fromarray(np.full((8, 4, 3), 99, np.uint8)).save(path)
    else:
        path.touch()


@pytest.fixture
def folders(tmp_path):
    """A Market-1501 set in a folder whose own name looks like a file's."""
    root = tmp_path / "run2_c1s1_000000_00" / "Market"
    for part, names in {
        TRAIN: ("0002_c1s1_000451_03.jpg", "0002_c2s1_000451_03.jpg", "-1_c1s1_000001_01.jpg"),
        QUERY: ("0003_c3s1_000451_00.jpg",),
        GALLERY: ("-1_c1s2_000401_03.jpg", "0000_c6s1_000451_00.jpg", "0003_c1s1_000451_03.jpg.jpg", "Thumbs.db"),
        "gt_bbox": ("0003_c3s1_000453_00.jpg",),
    }.items():
        for name in names:
            touch(root / part / name)
    return root


def test_market(folders):
    source = open_source(Data(dataset="market1501", root=str(folders)))
    assert [(p.person, p.camera) for p in source.train] == [(2, 1), (2, 2)]
    assert [(p.person, p.camera) for p in source.gallery] == [(0, 6), (3, 1)]
    assert (source.junk, source.people, source.has_cameras, len(source.more)) == (1, [2], True, 1)
    touch(folders / QUERY / "3_c1s1_000001_00.jpg")
    with pytest.raises(UserError, match="3_c1s1_000001_00.jpg: expected a file name such as"):
        market(folders)


def test_duke_names_and_mixed_layouts(tmp_path, folders):
    for part in (TRAIN, QUERY, GALLERY):
        touch(tmp_path / "duke" / part / "0005_c2_f0046985.jpg")
    source = open_source(Data(dataset="dukemtmc", root=str(tmp_path / "duke")))
    assert source.query[0] == Photo(tmp_path / "duke" / QUERY / "0005_c2_f0046985.jpg", 5, 2)
    assert guess(tmp_path / "duke") == "dukemtmc"
    assert guess(folders) == "market1501"
    with pytest.raises(UserError, match="check data.dataset and the folder"):
        open_source(Data(dataset="market1501", root=str(tmp_path / "duke")))
    with pytest.raises(UserError, match="folder .*bounding_box_train not found"):
        open_source(Data(dataset="market1501", root=str(tmp_path / "nowhere")))
    with pytest.raises(UserError, match="is none of demo"):
        guess(tmp_path)


def test_msmt17(tmp_path):
    name = "0000/0000_000_01_0303morning_0008_0.jpg"
    for part, text in {
        "train": f"{name} 0\n",
        "val": "0001/0001_000_07_0303morning_0008_0.jpg 1\n",
        "query": "0000/0000_000_15_0303noon_0008_0.jpg 0\n",  # numbered from 0 again
        "gallery": "0000/0000_001_03_0303noon_0008_0_ex.jpg 0\n",
    }.items():
        (tmp_path / f"list_{part}.txt").write_text(text)
    source = open_source(Data(dataset="msmt17", root=str(tmp_path)))
    assert [(p.person, p.camera) for p in source.train] == [(1, 1)]
    assert [(p.person, p.camera) for p in (*source.query, *source.gallery)] == [(2, 15), (2, 3)]
    problems = inspect(source, "msmt17").problems
    assert not [text for text in problems if "both training and test" in text or "distractor" in text]
    both = open_source(Data(dataset="msmt17", root=str(tmp_path), msmt17_val=True))
    assert [(p.person, p.camera) for p in both.train] == [(1, 1), (2, 7)]
    assert {photo.person for photo in both.query} == {3}
    assert source.query[0].path == tmp_path / "test" / "0000" / "0000_000_15_0303noon_0008_0.jpg"
    assert guess(tmp_path) == "msmt17"
    (tmp_path / "list_val.txt").write_text("0001/x.jpg 1\n")
    with pytest.raises(UserError, match="list_val.txt, line 1"):
        open_source(Data(dataset="msmt17", root=str(tmp_path), msmt17_val=True))
    (tmp_path / "mask_train_v2").mkdir()
    assert open_source(Data(dataset="msmt17", root=str(tmp_path))).gallery[0].path.parts[-3] == "mask_test_v2"
    parent = tmp_path / "parent"
    parent.mkdir()
    (parent / "MSMT17_V2").symlink_to(tmp_path)
    assert guess(parent) == "msmt17"
    assert len(open_source(Data(dataset="msmt17", root=str(parent))).train) == 1


@pytest.mark.parametrize("cameras", [False, True])
def test_class_folders(cameras, tmp_path):
    for part in PARTS:
        for person in ("anna", "bert"):
            touch(tmp_path / part / person / ("north" if cameras else "") / "1.jpg")
            touch(tmp_path / part / person / ("south" if cameras else "") / "2.jpg")
    source = open_source(Data(dataset="folder", root=str(tmp_path)))
    assert source.people == [1, 2]
    assert source.has_cameras == cameras
    assert Counter(p.person for p in source.query) == {1: 2, 2: 2}
    assert {p.camera for p in source.query} == ({1, 2} if cameras else {1})
    touch(tmp_path / "query" / "anna" / "deep" / "er" / "1.jpg")
    with pytest.raises(UserError, match="PART/PERSON/IMAGE"):
        open_source(Data(dataset="folder", root=str(tmp_path)))


def test_csv(tmp_path):
    rows = ["part,path,person,camera", "train,a.jpg,p9,x", "train,b.jpg,p10,y", "query,c.jpg,q,x"]
    rows += ["gallery,d.jpg,q,y", "gallery,e.jpg,-1,y"]
    path = tmp_path / "set.csv"
    path.write_text("\n".join(rows))
    source = open_source(Data(dataset="csv", root=str(path)))
    assert [p.path for p in source.train] == [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    assert source.query[0].person == source.gallery[0].person
    assert (source.junk, source.has_cameras, len(source.people)) == (1, True, 2)
    for text, message in (
        ("part,path\ntrain,a.jpg", "no column 'person'"),
        ("part,path,person\nvalid,a.jpg,1", "line 2: part must be"),
        ("part,path,person\ntrain,a.jpg,", "line 2"),
        ("part,path,person\ntrain,a.jpg,1", "the part 'query' has no images"),
        ("part,path,person\ntrain,a.jpg,1\nquery,b.jpg,1\ngallery,c.jpg,2", "no identity in common"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            open_source(Data(dataset="csv", root=str(path)))
    with pytest.raises(UserError, match="CSV file .*none.csv not found"):
        open_source(Data(dataset="csv", root=str(tmp_path / "none.csv")))


def photos(*pairs):
    return [Photo(Path(f"{i}_{person}_{camera}.jpg"), person, camera) for i, (person, camera) in enumerate(pairs)]


def test_why_a_query_has_no_positive():
    query, gallery = photos((1, 1), (2, 1), (3, 1)), photos((1, 1), (1, 2), (2, 1))
    source = assemble(photos((9, 1), (9, 2)), query, gallery)
    found = why_no_positive(source)
    assert "1 queries show a person absent from the gallery, e.g. 2_3_1.jpg" in found[0]
    assert "1 queries have gallery images of their identity only from their own camera, e.g. 1_2_1.jpg" in found[1]
    assert len(why_no_positive(source._replace(has_cameras=False))) == 1


def test_counts_are_compared_with_the_published_ones():
    train = photos(*((person, 1 + i % 6) for person in range(1, 752) for i in range(2)))
    source = assemble(train, photos((2000, 1)), photos((2000, 2), (0, 3), (-1, 4)))
    told, problems = inspect(source, "market1501")
    assert f"(published: {PUBLISHED['market1501'][0][0]} of 751)" in told[0]
    assert "1 distractors stay in the gallery; 1 junk images (-1) were left out" in told[3]
    assert any("images are missing" in problem for problem in problems)


def test_command(demo, tmp_path, capsys):
    root = demo / "reid"
    assert command.main(["check", str(root), "--decode"]) == 0
    said = capsys.readouterr().out
    assert "read as market1501" in said
    assert "distractors stay" in said
    csv = tmp_path / "bad.csv"
    touch(tmp_path / "a.jpg", picture=True)
    (tmp_path / "torn.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:200])
    rows = ["part,path,person", "train,a.jpg,1", "query,a.jpg,1", "gallery,torn.jpg,1", "gallery,a.jpg,1"]
    csv.write_text("\n".join(rows))
    assert command.main(["check", str(csv), "--decode"]) == 1
    said = capsys.readouterr().out
    for text in ("both training and test", "both query and gallery", "only one image", "1 images cannot be read"):
        assert text in said
    assert command.main(["chek", "x"]) == 2
    assert command.main(["check", str(tmp_path)]) == 2
    assert command.main(["check", str(root), "--dataset", "markt1501"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 3
