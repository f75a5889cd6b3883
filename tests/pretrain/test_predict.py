"""Predictions for files and folders, from a run and from its export."""

import csv
import io
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from imagesets.normalize import Normalize
from networks.open import open_network
from pretrain import export, predict, train


@pytest.fixture(scope="module")
def run(class_folders, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    argv = ["--data.dataset", "folder", "--data.root", str(class_folders), "--data.batch_size", "8"]
    argv += ["--device", "cpu", "--model.name", "resnet10t", "--epochs", "1", "--data.workers", "0"]
    assert train.main([*argv, "--data.image_size", "32", "--data.crop", "resized", "--output", str(folder)]) == 0
    return folder


def rows(text):
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.slow
def test_a_folder_and_a_file(run, class_folders, tmp_path, capsys):
    out, sheet = tmp_path / "p.csv", tmp_path / "p.png"
    single = next((class_folders / "val").rglob("*.jpg"))
    argv = [str(run), str(class_folders / "val"), str(single), "--device", "cpu", "--batch_size", "7"]
    argv += ["--csv_file", str(out), "--picture", str(sheet), "--probabilities", "true", "--top", "3"]
    assert predict.main(argv) == 0
    found = rows(out.read_text())
    assert len(found) == 21
    assert found[-1]["image"] == str(single)
    classes = sorted(path.name for path in (class_folders / "train").iterdir())
    for row in found:
        assert row["label"] == row["image"].split("/")[-2]
        values = {name: float(row[f"p({name})"]) for name in classes}
        assert sum(values.values()) == pytest.approx(1, abs=1e-4)
        assert [row[f"class_{i}"] for i in (1, 2, 3)] == sorted(values, key=values.__getitem__, reverse=True)[:3]
    opened = open_network(str(run))
    pixels = torch.from_numpy(np.array(opened.crop()(Image.open(single).convert("RGB"))))
    images = Normalize(opened.mean, opened.std)(pixels.permute(2, 0, 1)[None])
    expected = opened.model(images).softmax(1)[0].max().item()
    assert float(found[-1]["probability_1"]) == pytest.approx(expected, abs=1e-5)
    said = capsys.readouterr()
    hits = sum(row["label"] == row["class_1"] for row in found)
    assert f"{hits} of 21 images with a label are classified correctly" in said.err
    with Image.open(sheet) as picture:
        assert picture.size == (1600, 460)


@pytest.mark.slow
def test_an_export_to_standard_output_and_images_without_labels(run, class_folders, tmp_path, capsys):
    exported, photos = tmp_path / "r10.safetensors", tmp_path / "photos"
    assert export.main([str(run), str(exported)]) == 0
    photos.mkdir()
    for number, path in enumerate(sorted((class_folders / "val").rglob("*.jpg"))[:3]):
        shutil.copy(path, photos / f"{number}.JPG")
    (photos / "broken.png").write_bytes(b"no image")
    (photos / "notes.txt").write_text("no image either")
    capsys.readouterr()
    argv = [str(exported), str(photos), "--device", "cpu"]
    assert predict.main(argv) == 2
    assert "broken.png" in capsys.readouterr().err
    assert predict.main([*argv, "--on_corrupt", "skip", "--picture", str(tmp_path / "p.png")]) == 0
    said = capsys.readouterr()
    found = rows(said.out)
    assert [row["label"] for row in found] == ["", "", ""]
    assert "skipped: cannot read the image" in said.err
    assert "with a label" not in said.err


@pytest.mark.slow
def test_mistakes(run, tmp_path, capsys):
    for argv, message in (
        ([str(run), "missing"], "images: missing not found"),
        ([str(run), str(tmp_path)], "has no images"),
        (["resnet18", str(run)], "has no images"),
        ([str(run), str(run / "config.yaml"), "--picture", "x.xyz"], "no picture format"),
        ([str(run), str(run / "config.yaml")], "cannot read the image"),
        ([str(run), str(run / "config.yaml"), "--top", "0"], "top must be at least 1"),
    ):
        assert predict.main([*argv, "--device", "cpu"]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
