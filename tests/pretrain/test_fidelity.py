"""What augmentations destroy, measured with runs, checkpoints from elsewhere, class folders and COCO's format."""

import argparse
import json
import shutil

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from engine.errors import UserError
from networks.open import open_network
from pretrain import export, fidelity
from pretrain.fidelity_scores import COLUMNS, MEASURED, BeforeAfter, scores, summarise

CUT_ROWS = [
    "cutout",
    "keep cutout",
    "keep cutout, area-matched",
    "keep cutout, area-matched, shuffled",
    "keep cutout, area-matched, centre prior",
    "keep cutout, shuffled",
    "keep cutout, same size",
    "keep cutout, mean map",
    "keep cutout, centre prior",
    "keep cutout, noise",
]
PASTE_ROWS = [
    "randaugment",
    "keep randaugment",
    "keep randaugment, random paste",
    "keep randaugment, shuffled",
    "keep randaugment, mean map",
    "keep randaugment, centre prior",
]


def measured(tmp_path, *argv):
    out = tmp_path / "out.json"
    words = [str(word) for word in argv]
    assert fidelity.main([*words, "--device", "cpu", "--batch_size", "10", "--json_file", str(out)]) == 0
    return json.loads(out.read_text())


def test_scores_against_a_loop():
    changed, saliency, mask = torch.rand(3, 4, 5) > 0.6, torch.rand(3, 4, 5), torch.rand(3, 4, 5) > 0.5
    mask[2] = False
    before = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7]])
    after = torch.tensor([[0.2, 0.8], [0.5, 0.5], [0.3, 0.7]])
    got = scores(BeforeAfter(changed, saliency, mask, torch.tensor([0, 0, 0]), before, after))
    for i in range(3):
        pixels = [(y, x) for y in range(4) for x in range(5) if changed[i, y, x]]
        lost = sum(saliency[i, y, x].item() for y, x in pixels) / saliency[i].sum().item()
        assert got[i, :2].tolist() == pytest.approx([len(pixels) / 20, lost], abs=1e-6)
        thing = sum(mask[i, y, x].item() for y, x in pixels) / mask[i].sum().item() if mask[i].any() else None
        assert got[i, 2].isnan() if thing is None else got[i, 2].item() == pytest.approx(thing, abs=1e-6)
    assert got[:, 3].tolist() == pytest.approx([0.7, 0.1, 0.0], abs=1e-6)
    assert got[:, 4].tolist() == [1.0, 0.0, 0.0]


def test_means_intervals_and_paired_differences():
    rng = np.random.default_rng(0)
    plain = rng.random((400, len(MEASURED)))
    plain[::4, 2] = np.nan  # images without objects
    better = plain - 0.1
    got = summarise({"plain": plain, "keep": better}, {"plain": "plain", "keep": "plain"})
    assert "minus_plain" not in got["plain"]
    assert set(got["keep"]) == {*COLUMNS, "minus_plain"}
    area = got["plain"]["area_cut"]
    assert area["mean"] == pytest.approx(100 * plain[:, 0].mean())
    spread = 100 * plain[:, 0].std() / 20  # the standard error of a mean of 400
    assert area["high"] - area["low"] == pytest.approx(2 * 1.96 * spread, rel=0.1)
    has = ~np.isnan(plain[:, 2])
    assert got["plain"]["object_lost"]["mean"] == pytest.approx(100 * np.nanmean(plain[:, 2]))
    assert got["plain"]["object_per_area"]["mean"] == pytest.approx(plain[has, 2].mean() / plain[has, 0].mean())
    difference = got["keep"]["minus_plain"]["label_lost"]
    assert (difference["mean"], difference["low"], difference["high"]) == pytest.approx((-10, -10, -10))
    plain[:, 2] = np.nan
    nothing = summarise({"plain": plain}, {"plain": "plain"})["plain"]["object_per_area"]
    assert nothing == {"mean": None, "low": None, "high": None}


@pytest.mark.slow
def test_a_run_on_its_own_data_with_all_controls(run, tmp_path, capsys):
    sheet = tmp_path / "f.png"
    got = measured(tmp_path, run, "--images", 20, "--augmentations", "cutout,randaugment", "--picture", sheet)
    assert list(got["rows"]) == [*CUT_ROWS, *PASTE_ROWS]
    assert (got["images"], got["images_with_objects"], got["labels"]) == (20, 20, "the data's")
    rows = {title: {name: row[name]["mean"] for name in COLUMNS} for title, row in got["rows"].items()}
    for plain in ("cutout", "randaugment"):
        assert rows[f"keep {plain}"]["saliency_lost"] < rows[plain]["saliency_lost"]
        assert 0 < rows[plain]["object_lost"] < 100
    matched = [title for title in CUT_ROWS if "area-matched" in title]
    assert all(rows[t]["area_cut"] == pytest.approx(rows["cutout"]["area_cut"]) for t in matched)
    assert rows["keep cutout, same size"]["area_cut"] == pytest.approx(rows["keep cutout"]["area_cut"])
    assert rows["keep cutout, shuffled"]["area_cut"] == pytest.approx(rows["keep cutout"]["area_cut"])
    assert rows["keep randaugment, random paste"]["area_cut"] < rows["randaugment"]["area_cut"]
    with Image.open(sheet) as picture:
        assert picture.height == (2 + 5) * 96 + 8 * 6  # clean, saliency; three rows of Cutout, two of RandAugment
    assert "keep randaugment" in capsys.readouterr().out


@pytest.mark.slow
def test_an_export_on_coco_judged_by_a_foreign_checkpoint(run, demo, tmp_path):
    """No labels here: the predictions stand for them."""
    exported, foreign = tmp_path / "r18.safetensors", tmp_path / "foreign.pth"
    assert export.main([str(run), str(exported)]) == 0
    torch.save(timm.create_model("resnet10t", num_classes=7).state_dict(), foreign)
    more = ["--augmentations", "cutout", "--draws", 2, "--controls", "false", "--images", 6]
    more += ["--judge", foreign, "--judge_arch", "resnet10t", "--saliency", "feature_gradient", "--scale", 0.5]
    got = measured(tmp_path, exported, "--root", demo / "detection", *more)
    assert list(got["rows"]) == ["cutout", "keep cutout"]
    assert (got["network"], got["judge"], got["images"], got["draws"]) == ("resnet18", "resnet10t", 6, 2)
    assert "predictions" in got["labels"]
    assert got["images_with_objects"] > 0
    coco = demo / "detection" / "coco"
    own = ["--annotations", coco / "annotations" / "instances_val2017.json", "--root", coco / "val2017"]
    same = measured(tmp_path, exported, *own, *more)
    assert same["rows"] == got["rows"]


@pytest.mark.slow
def test_class_folders_without_parts_and_timm_s_hub_form(run, class_folders, tmp_path):
    hub = tmp_path / "hub"
    assert export.main([str(run), str(hub)]) == 0
    flat = tmp_path / "flat"
    shutil.copytree(class_folders / "val", flat)
    got = measured(tmp_path, hub, "--root", flat, "--augmentations", "cutmix", "--controls", "false")
    assert (got["labels"], got["images"], got["images_with_objects"]) == ("the data's", 20, 0)
    assert got["rows"]["cutmix"]["object_per_area"]["mean"] is None
    parts = measured(tmp_path, hub, "--root", class_folders, "--augmentations", "cutmix", "--controls", "false")
    assert parts["rows"] == got["rows"]
    for folder in sorted(flat.iterdir())[:3]:
        shutil.rmtree(folder)
    fewer = measured(tmp_path, hub, "--root", flat, "--augmentations", "cutmix", "--controls", "false")
    assert "predictions" in fewer["labels"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["RUN", "--augmentations", "cut"], "must be among"),
        (["RUN", "--length", "2"], "length must be"),
        (["RUN", "--images", "0"], "images must be at least 1"),
        (["RUN", "--draws", "0"], "draws must be at least 1"),
        (["RUN", "--stage", "layer3"], "belongs to saliency feature_gradient"),
        (["RUN", "--saliency", "feature_gradient", "--stage", "layer9"], "no module named 'layer9'"),
        (["resnet18", "--root", "ROOT"], "add --pretrained"),
        (["RUN/last.pth", "--arch", "resnet50"], "different architecture"),
        (["RUN", "--root", "ROOT/coco"], "does not hold the demo set"),
        (["EXPORT"], "give the folder of the images with --root"),
        (["EXPORT", "--root", "ROOT", "--split", "val2014"], "it has train2017, val2017"),
        (["EXPORT", "--root", "ROOT/coco/val2017"], "has neither class folders"),
        (["EXPORT", "--root", "ROOT", "--annotations", "missing.json"], "missing.json not found"),
    ],
)
def test_mistakes(run, demo, argv, message, tmp_path, capsys):
    exported, root = tmp_path / "r18.safetensors", demo / "detection"
    if "EXPORT" in argv:
        assert export.main([str(run), str(exported)]) == 0
    replaced = [
        word.replace("RUN", str(run)).replace("EXPORT", str(exported)).replace("ROOT", str(root)) for word in argv
    ]
    capsys.readouterr()
    assert fidelity.main([*replaced, "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_a_checkpoint_that_does_not_say_what_it_is(tmp_path):
    torch.save(timm.create_model("resnet10t", num_classes=7).state_dict(), tmp_path / "w.pth")
    with pytest.raises(UserError, match="give its timm name with --arch"):
        open_network(str(tmp_path / "w.pth"))
    opened = open_network(str(tmp_path / "w.pth"), arch="resnet10t")
    assert (opened.num_classes, opened.size, opened.classes) == (7, 176, ())
    assert opened.crop()(Image.new("RGB", (300, 200))).size == (176, 176)


@pytest.mark.slow
def test_a_timm_training_checkpoint_brings_its_arguments(tmp_path):
    arguments = argparse.Namespace(
        model="resnet10t", num_classes=7, img_size=96, mean=[0.4, 0.4, 0.4], crop_pct=0.9
    )
    state = timm.create_model("resnet10t", num_classes=7).state_dict()
    torch.save({"state_dict": state, "args": arguments, "epoch": 3}, tmp_path / "last.pth.tar")
    opened = open_network(str(tmp_path / "last.pth.tar"))
    assert (opened.name, opened.num_classes, opened.size, opened.mean) == ("resnet10t", 7, 96, (0.4, 0.4, 0.4))
    assert opened.crop_pct == 0.9
