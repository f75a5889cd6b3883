"""tools/explore.py on photographs, through its command line."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "r10.pth"
    torch.save(timm.create_model("resnet10t", num_classes=4).state_dict(), path)
    return path


def explore(*words):
    argv = [sys.executable, str(ROOT / "tools" / "explore.py"), *map(str, words), "--device", "cpu"]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(("images", "columns"), [(3, 9), (1, 7)])
def test_a_sheet_of_photographs(class_folders, weights, tmp_path, images, columns):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number, path in enumerate(sorted((class_folders / "val").rglob("*.jpg"))[:images]):
        shutil.copy(path, photos / f"{number}.jpg")
    out = tmp_path / "sheet.png"
    run = explore(photos, weights, "--arch", "resnet10t", "--out", out)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == str(out)
    with Image.open(out) as picture:
        assert picture.size == (190 * columns, 220 * images + 50)
        assert len(set(picture.convert("L").getdata())) > 100


@pytest.mark.slow
def test_mistakes(weights, tmp_path):
    for words, message in (
        ([weights], "give images or folders, and then the network"),
        ([tmp_path, weights], "has no images"),
        ([tmp_path / "none.jpg", weights], "none.jpg not found"),
    ):
        run = explore(*words, "--arch", "resnet10t")
        assert run.returncode == 2
        assert message in run.stderr
        assert run.stderr.count("\n") == 1
