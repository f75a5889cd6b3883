"""Splits, streams and crops."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from engine.errors import UserError
from imagesets.classification import Records
from keepcore.draws import BatchShard
from semi_supervised.config import Data
from semi_supervised.data import Crops, build_loader, open_parts, reflected, resident_crops
from semi_supervised.split import Endless, fingerprint, labelled_subset, read_indices

LABELS = [i % 10 for i in range(50_000)]


def test_splits_are_balanced_and_frozen():
    hashes = {}
    for count in (4000, 2500, 250, 40):
        for seed in range(5):
            chosen = labelled_subset(LABELS, count, seed)
            assert len(set(chosen)) == count
            assert {sum(LABELS[i] == c for i in chosen) for c in range(10)} == {count // 10}
            hashes[count, seed] = fingerprint(chosen)
    assert len(set(hashes.values())) == len(hashes)
    assert hashes[250, 0] == "459717d11e6fe700"
    for count in (5, 255, 60_000):
        with pytest.raises(UserError, match=r"data\.labels"):
            labelled_subset(LABELS, count, 0)


def test_index_lists_of_others(tmp_path):
    wanted = list(range(20))
    (tmp_path / "a.txt").write_text("\n".join(map(str, reversed(wanted))))
    (tmp_path / "b.json").write_text(json.dumps(wanted))
    np.save(tmp_path / "c.npy", np.array(wanted))
    for name in ("a.txt", "b.json", "c.npy"):
        assert read_indices(tmp_path / name, LABELS) == wanted


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "1 2 x", "must contain a list of indices"),
        ("a.json", '{"x": 1}', "must contain a list of indices"),
        ("a.npy", "nothing", "must contain a list of indices"),
        ("a.txt", "", "at least one"),
        ("a.txt", "1.5", "only integers"),
        ("a.txt", "0 1 2 3 4 5 6 7 8 9 50000", "index 50000 is outside the 50000"),
        ("a.txt", "-1 0", "index -1 is outside"),
        ("a.txt", "0 1 1", "index 1 is a duplicate"),
        ("a.txt", "0 1 2", "class 3 has no labelled image"),
        ("a.txt", "inf", "must contain a list of indices"),
        ("a.json", "[1e400]", "must contain a list of indices"),
        ("a.json", "[" * 200_000, "must contain a list of indices"),
        ("a.npy", "", "must contain a list of indices"),
        ("a.npy", "PK", "must contain a list of indices"),
    ],
)
def test_damaged_index_lists(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        read_indices(tmp_path / name, LABELS)


def test_endless_passes_read_on_across_epochs():
    plan = Endless(5, 3, 4, seed=0, purpose="x")
    flat = [number for epoch in range(5) for batch in plan(epoch) for number in batch]
    assert len(flat) == 60
    assert len(set(flat)) == 60  # a sample that comes again has another number
    for start in range(0, 60, 5):
        assert sorted(number % 5 for number in flat[start : start + 5]) == [0, 1, 2, 3, 4]
    halves = [Endless(7, 4, 3, 0, "x", r, 2)(1) for r in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == Endless(7, 4, 3, 0, "x")(1)


def test_a_sample_that_comes_again_in_an_epoch_is_cropped_anew():
    rng = np.random.default_rng(0)
    records = Records(rng.integers(0, 256, (4, 12, 12, 3), dtype=np.uint8), [0, 1, 2, 3])
    data = Data(image_size=12, padding=4, steps_per_epoch=20, labelled_batch=4, workers=0, resident="no")
    for resident in ("no", "yes"):
        opened = _opened(records)
        loader = build_loader(
            Data(**{**data.__dict__, "resident": resident}), opened, 0, 0, torch.device("cpu"), BatchShard()
        )
        seen = [views[0][labels == 2] for (views, labels), _ in loader]
        assert len(torch.cat(seen).flatten(1).unique(dim=0)) > 12, resident


def _opened(records):
    from semi_supervised.data import Opened

    return Opened(records, records, records, ("a", "b", "c", "d"), {})


def test_every_resident_crop_is_a_window_of_the_reflected_image():
    rng = np.random.default_rng(0)
    records = Records(rng.integers(0, 256, (6, 10, 10, 3), dtype=np.uint8), list(range(6)))
    data = Data(image_size=10, padding=3, unlabelled_batch=6, steps_per_epoch=3)
    loader = resident_crops(records, Endless(6, 6, 3, 0, "x"), data, 2, torch.device("cpu"))
    loader.set_epoch(1)
    shifts = set()
    for views, labels in loader:
        assert not torch.equal(*views)
        for view in views:
            for crop, label in zip(view, labels, strict=True):
                padded = np.pad(records.images_NHWC[label], ((3, 3), (3, 3), (0, 0)), mode="reflect")
                place = [
                    (y, x, flip)
                    for y in range(7)
                    for x in range(7)
                    for flip in (1, -1)
                    if np.array_equal(padded[y : y + 10, x : x + 10][:, ::flip], crop.permute(1, 2, 0).numpy())
                ]
                assert len(place) == 1
                shifts.add(place[0])
    assert len(shifts) > 20


def test_processes_share_resident_batches_and_skipped_ones_are_the_same():
    rng = np.random.default_rng(0)
    records = Records(rng.integers(0, 256, (9, 8, 8, 3), dtype=np.uint8), list(range(9)))
    data = Data(image_size=8, padding=2, steps_per_epoch=4)
    device = torch.device("cpu")
    whole = list(resident_crops(records, Endless(9, 6, 4, 0, "x"), data, 2, device))
    halves = [list(resident_crops(records, Endless(9, 6, 4, 0, "x", r, 2), data, 2, device)) for r in (0, 1)]
    for (views, labels), (first, a), (second, b) in zip(whole, *halves, strict=True):
        assert torch.equal(labels, torch.cat([a, b]))
        assert all(torch.equal(v, torch.cat([x, y])) for v, x, y in zip(views, first, second, strict=True))
    late = resident_crops(records, Endless(9, 6, 4, 0, "x"), data, 2, device)
    late.set_epoch(0, skip=3)
    assert torch.equal(next(iter(late))[0][1], whole[3][0][1])


def test_reflection_equals_numpys():
    image = torch.arange(2 * 3 * 5 * 4, dtype=torch.uint8).view(2, 3, 5, 4)
    expected = np.pad(image.numpy(), ((0, 0), (0, 0), (3, 3), (3, 3)), mode="reflect")
    assert np.array_equal(reflected(image, 3).numpy(), expected)
    with pytest.raises(UserError, match=r"data\.padding"):
        reflected(image, 4)


def test_workers_give_the_wanted_number_of_crops():
    records = Records(np.zeros((2, 20, 20, 3), np.uint8), [0, 1])
    views, label = Crops(records, Data(image_size=16), 2)[3]
    assert [tuple(view.shape) for view in views] == [(3, 16, 16)] * 2
    assert label == 1


def test_unlabelled_images_without_classes(class_folders, tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for number in range(6):
        Image.new("RGB", (20 + number, 17)).save(tmp_path / "deep" / "er" / f"{number}.png")
    data = Data("folder", str(class_folders), labels=10, unlabelled_root=str(tmp_path), unlabelled_batch=6)
    (tmp_path / "._0.png").write_bytes(b"resource fork")
    (tmp_path / "folder.png").mkdir()
    opened = open_parts(data, 0)
    assert len(opened.unlabelled) == 6
    assert opened.unlabelled[0][1] == -1
    assert len(opened.labelled) == 10


def test_the_unlabelled_set_with_and_without_the_labelled_images(class_folders):
    for include, count in ((True, 40), (False, 30)):
        data = Data("folder", str(class_folders), labels=10, include_labelled=include, unlabelled_batch=4)
        assert len(open_parts(data, 0).unlabelled) == count


def test_the_split_follows_the_runs_seed_unless_told_otherwise(class_folders):
    data = Data("folder", str(class_folders), labels=10, unlabelled_batch=4)
    hashes = [open_parts(data, seed).split["hash"] for seed in (0, 1)]
    assert hashes[0] != hashes[1]
    fixed = Data("folder", str(class_folders), labels=10, unlabelled_batch=4, split_seed=1)
    assert open_parts(fixed, 0).split["hash"] == hashes[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"unlabelled_root": "/nowhere"}, "folder /nowhere not found"),
        ({"unlabelled_batch": 41}, "41 exceeds the 40 unlabelled images"),
        ({"dataset": "cifar11"}, r"data\.dataset must be one of"),
        ({"label_file": "/nowhere.txt"}, "nowhere.txt not found"),
    ],
)
def test_mistakes(change, message, class_folders):
    base = {"dataset": "folder", "root": str(class_folders), "labels": 10, "unlabelled_batch": 4}
    with pytest.raises(UserError, match=message):
        open_parts(Data(**(base | change)), 0)


def test_an_empty_unlabelled_folder(class_folders, tmp_path):
    data = Data("folder", str(class_folders), labels=10, unlabelled_root=str(tmp_path))
    with pytest.raises(UserError, match="contains no images"):
        open_parts(data, 0)
