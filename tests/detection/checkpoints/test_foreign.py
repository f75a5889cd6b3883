"""Backbones that others have made for Detectron2 fit their own configs and are told from ours."""

import json
import pickle
import re
from pathlib import Path

import detectron2
import pytest
import torch
from detectron2.checkpoint.c2_model_loading import convert_basic_c2_names
from detectron2.model_zoo import get_config_file

from detection import check as check_command
from detection import run
from detection.checkpoints.foreign import from_caffe2
from detection.checkpoints.write import read
from detection.detectors.check import check
from detection.table11.differences import differences
from detection.table11.rows import CONFIGS, ROWS
from detection.table11.settings import read_config
from tests.detection.conftest import command, lively

CAFFE2 = {
    "weight": "w",
    "norm.weight": "bn_gamma",
    "norm.bias": "bn_beta",
    "norm.running_mean": "bn_running_mean",
    "norm.running_var": "bn_running_var",
}
BRANCHES = {"shortcut": "1", "conv1": "2a", "conv2": "2b", "conv3": "2c"}


def caffe2_name(name, affine=False):
    tails = CAFFE2 | ({"norm.weight": "bn_s", "norm.bias": "bn_b"} if affine else {})
    if name.startswith("stem.conv1."):
        tail = name.removeprefix("stem.conv1.")
        return f"conv1_{tails[tail]}" if tail == "weight" else f"res_conv1_{tails[tail]}"
    stage, block, conv, tail = name.split(".", 3)
    return f"{stage}_{block}_branch{BRANCHES[conv]}_{tails[tail]}"


@pytest.fixture(scope="module")
def torchvision_file(tmp_path_factory):
    """A ResNet-50 by Detectron2's own converter: with step counters, and the classifier as stem.fc."""
    folder = tmp_path_factory.mktemp("torchvision")
    torch.save(lively("resnet50").state_dict(), folder / "r50.pth")
    script = Path(detectron2.__file__).parents[1] / "tools" / "convert-torchvision-to-d2.py"
    command(script, folder / "r50.pth", folder / "r50.pkl")
    return folder / "r50.pkl"


@pytest.fixture(scope="module")
def msra_file(torchvision_file, tmp_path_factory):
    """The same tensors as the zoo's R-50.pkl names them, with what Detectron2 leaves unused."""
    tensors = read(torchvision_file)[0]
    blobs = {caffe2_name(name): tensor.numpy() for name, tensor in tensors.items()}
    blobs["conv1_b"] = blobs["res_conv1_bn_beta"]
    blobs |= {"fc1000_w": blobs["conv1_w"], "fc1000_b": blobs["conv1_b"], "fc1000_w_momentum": blobs["conv1_b"]}
    path = tmp_path_factory.mktemp("msra") / "R-50.pkl"
    path.write_bytes(pickle.dumps(blobs))
    return path


@pytest.mark.parametrize("affine", [False, True])
def test_names_equal_those_of_detectron2(affine, backbones):
    ours = list(read(backbones[50])[0])
    ours = [name for name in ours if not (affine and "running" in name)]
    caffe2 = [caffe2_name(name, affine) for name in ours]
    assert convert_basic_c2_names(caffe2) == ours
    assert [from_caffe2(name) for name in caffe2] == ours
    assert from_caffe2("res2_0_branch2d_w") == "res2_0_branch2d_w"


def test_a_file_of_upstreams_converter_fits_our_rows_and_no_bgr_config(torchvision_file):
    assert check(ROWS["fpn_r50"].path, torchvision_file) == ([], [])
    problems, _ = check(ROWS["fpn_r50"].path, torchvision_file, ["INPUT.FORMAT", "BGR"])
    assert problems == ["INPUT.FORMAT is BGR, but the weights need INPUT.FORMAT RGB"]
    assert read(torchvision_file)[1]["arch"] == "resnet50"


@pytest.mark.parametrize("kind", ["FPN", "C4"])
def test_the_zoos_weights_fit_the_zoos_config_and_not_ours(kind, msra_file):
    zoo = Path(get_config_file(f"COCO-Detection/faster_rcnn_R_50_{kind}_3x.yaml"))
    assert check(zoo, msra_file) == ([], [])
    problems, _ = check(ROWS[f"{kind.lower()}_r50"].path, msra_file)
    assert len(problems) == 4
    assert problems[0].endswith("INPUT.FORMAT BGR")
    assert problems[3].endswith("MODEL.RESNETS.STRIDE_IN_1X1 True")


def test_the_remedies_of_a_lazy_config_are_in_its_own_syntax_and_work(msra_file):
    path = CONFIGS / "lazy" / "faster_rcnn_R_101_C4_3x.py"
    problems, _ = check(path, msra_file)
    assert "the weights are a ResNet-50: set model.backbone.stages.depth=50" in problems[0]
    remedies = [word for text in problems for word in re.split(r"need|set", text)[-1].split() if "=" in word]
    assert "model.roi_heads.res5.stride_in_1x1=True" in remedies
    assert check(path, msra_file, remedies) == ([], [])


@pytest.mark.parametrize("row", ["fpn_r101", "c4_r50"])
def test_the_remedies_of_a_yaml_config_work(row, msra_file):
    problems, _ = check(ROWS[row].path, msra_file)
    remedies = [word for text in problems for word in re.split(r"need|set", text)[-1].split()]
    assert check(ROWS[row].path, msra_file, remedies) == ([], [])


def test_a_file_with_affine_layers_gets_the_statistics_of_frozenbn(msra_file, tmp_path):
    tensors = read(msra_file)[0]
    affine = {caffe2_name(n, affine=True): t.numpy() for n, t in tensors.items() if "running" not in n}
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps({"blobs": affine}))
    zoo = Path(get_config_file("COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml"))
    assert check(zoo, tmp_path / "R-50.pkl") == ([], [])
    assert read(tmp_path / "R-50.pkl")[0]["res5.2.conv3.norm.running_mean"].abs().sum() == 0


@pytest.fixture
def cache(msra_file, tmp_path):
    """Detectron2's cache of downloads, which already holds the zoo's R-50."""
    at = tmp_path / "cache" / "detectron2" / "ImageNetPretrained" / "MSRA" / "R-50.pkl"
    at.parent.mkdir(parents=True)
    at.write_bytes(msra_file.read_bytes())
    return {"FVCORE_CACHE": str(tmp_path / "cache")}


@pytest.mark.slow
def test_the_zoos_baseline_runs_by_the_same_command(cache, demo, tmp_path):
    argv = [
        "-m",
        "detection.run",
        "--baseline",
        "zoo",
        "--row",
        "fpn_r50",
        "--output",
        tmp_path / "run",
        "--quick",
    ]
    argv += ["--data", demo / "detection"]
    printed = command(*argv, "SOLVER.MAX_ITER", "1", env=cache)
    assert "every backbone tensor is filled" in printed
    assert "ours: zoo" in printed
    note = json.loads((tmp_path / "run" / "keepaugment.json").read_text())
    assert (note["arm"], note["backbone"]["format"]) == ("zoo", "BGR")
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert "FORMAT: BGR" in config
    assert "STRIDE_IN_1X1: true" in config
    theirs = " ".join(differences(read_config(tmp_path / "run" / "config.yaml"), "fpn_r50"))
    assert not re.search("PIXEL|FORMAT|STRIDE", theirs)  # what a backbone needs is no difference from its row
    resumed = command(*argv, "--resume", env={"FVCORE_CACHE": str(tmp_path / "empty")})
    assert "Starting training from iteration 1" in resumed  # and nothing was downloaded


def test_mistakes(monkeypatch, tmp_path, capsys, demo, sources):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    for argv, message in (
        ([], "backbone: give --backbone RUN_OR_CHECKPOINT, or --baseline zoo"),
        (["--baseline", "zoo", "--config-file", "x.yaml"], "baseline: give --row"),
        (
            ["--baseline", "zoo", "--row", "fpn_r50", "--backbone", str(sources[50])],
            "not hold the zoo's weights",
        ),
        (["--backbone", "a.pth", "--row", "fpn_r50", "MODEL.WEIGHTS", "b.pth"], "give the weights as --backbone"),
        (
            ["--backbone", "https://127.0.0.1:1/R-50.pkl", "--row", "fpn_r50"],
            "cannot download https://127.0.0.1:1",
        ),
    ):
        assert (
            run.main(["--output", str(tmp_path / "out"), "--data", str(demo / "detection"), "--quick", *argv]) == 2
        )
        error = capsys.readouterr().err
        assert error.splitlines()[-1].startswith("error: ")
        assert message in error.splitlines()[-1]
    assert check_command.main([str(ROWS["fpn_r50"].path), "https://127.0.0.1:1/R-50.pkl"]) == 2
    assert "cannot download https://127.0.0.1:1/R-50.pkl" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*"))
