"""What people get wrong with a pretrained backbone, and that somebody tells them: README.md has the list."""

import json

import pytest
import torch

from detection import check as command
from detection import run
from detection.checkpoints.convert import convert
from detection.checkpoints.write import write
from detection.detectors.build import build
from detection.detectors.check import check
from detection.options import check_overrides, get_option
from detection.table11.rows import CONFIGS, ROWS
from engine.errors import UserError
from tests.detection.conftest import lively

LAZY = CONFIGS / "lazy"


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_the_rows_fit_their_backbones(row, backbones):
    assert check(ROWS[row].path, backbones[ROWS[row].depth]) == ([], [])


MISUSE = {
    "bgr": (["INPUT.FORMAT", "BGR"], "INPUT.FORMAT is BGR.*INPUT.FORMAT RGB"),
    "mean_of_the_zoo": (["MODEL.PIXEL_MEAN", "[103.53,116.28,123.675]"], r"PIXEL_MEAN \[123.675,116.28,103.53\]"),
    "std_of_the_zoo": (["MODEL.PIXEL_STD", "[1.0,1.0,1.0]"], r"MODEL.PIXEL_STD \[58.395,57.12,57.375\]"),
    "msra_stride": (
        ["MODEL.RESNETS.STRIDE_IN_1X1", "True"],
        "res3.0, .*res5.0 stride in the wrong.*1X1 False",
    ),
    "another_depth": (["MODEL.RESNETS.DEPTH", "101"], "255 of 520 backbone tensors stay random.*DEPTH"),
    "another_width": (["MODEL.RESNETS.WIDTH_PER_GROUP", "128"], "stay random"),
    "groupnorm": (["MODEL.RESNETS.NORM", "GN"], "not used by the model.*running_mean"),
}


@pytest.mark.parametrize("row", ["c4_r50", "fpn_r50", "retinanet_r50"])
@pytest.mark.parametrize("mistake", MISUSE)
def test_misuse_is_told(mistake, row, backbones):
    options, message = MISUSE[mistake]
    problems, _ = check(ROWS[row].path, backbones[50], options)
    import re

    assert any(re.search(message, problem) for problem in problems), problems
    assert all("\n" not in problem for problem in problems)


@pytest.mark.parametrize("name", ["resnet34", "resnext50_32x4d", "wide_resnet50_2", "resnet50_gn"])
def test_the_remedy_for_another_network_is_complete(name, tmp_path):
    from detection.checkpoints.convert_file import Conversion, convert_file

    torch.save({"arch": name, "state_dict": lively(name).state_dict()}, tmp_path / "w.pth")
    assert convert_file(Conversion(tmp_path / "w.pth", tmp_path / "d2.pth")) == 0
    problems, _ = check(ROWS["fpn_r50"].path, tmp_path / "d2.pth")
    remedy = problems[0].split(": set ")[1].split()
    assert check(ROWS["fpn_r50"].path, tmp_path / "d2.pth", remedy).problems == []
    if name == "resnet34":
        for path in (ROWS["c4_r50"].path, LAZY / "faster_rcnn_R_50_FPN_3x.py"):
            assert "use a YAML config of FPN or RetinaNet" in check(path, tmp_path / "d2.pth").problems[0]


def test_r34_weights_under_a_depth_50_config(tmp_path):
    from detection.checkpoints.arch import ARCHS

    write(convert(lively("resnet34").state_dict(), ARCHS["resnet34"]), tmp_path / "r34.pth", {})
    problems, _ = check(ROWS["fpn_r50"].path, tmp_path / "r34.pth")
    assert "stay random" in problems[0]
    assert "(3, 4, 6, 3)" in problems[0]


def test_trained_batchnorm_is_remarked_upon(backbones):
    problems, remarks = check(ROWS["fpn_r50"].path, backbones[50], ["MODEL.RESNETS.NORM", "BN"])
    assert problems == []
    assert "lowers AP" in remarks[0]


def test_a_file_without_provenance_is_remarked_upon(backbones, tmp_path):
    content = torch.load(backbones[50], weights_only=True)
    torch.save({k: v for k, v in content.items() if k != "keepaugment"}, tmp_path / "plain.pth")
    problems, remarks = check(ROWS["fpn_r50"].path, tmp_path / "plain.pth", ["INPUT.FORMAT", "BGR"])
    assert problems == []
    assert "mean and stride are not checked" in remarks[0]


def test_an_architecture_that_was_assumed_is_remarked_upon(tmp_path):
    from detection.checkpoints.convert_file import Conversion, convert_file

    torch.save(lively("resnetaa50").state_dict(), tmp_path / "unnamed.pth")
    for name, assumed in (("", True), ("resnet50", False)):
        assert convert_file(Conversion(tmp_path / "unnamed.pth", tmp_path / "d2.pth", arch=name)) == 0
        problems, remarks = check(ROWS["fpn_r50"].path, tmp_path / "d2.pth")
        assert problems == []
        assert any("resnet50 was assumed from the shapes" in text for text in remarks) == assumed


def test_files_that_were_never_converted(sources, tmp_path):
    with pytest.raises(UserError, match="not a Detectron2 file.*convert_to_d2"):
        check(ROWS["fpn_r50"].path, sources[50])
    torch.save(torch.load(sources[50], weights_only=True)["state_dict"], tmp_path / "bare.pth")
    with pytest.raises(UserError, match="timm's names.*convert_to_d2"):
        check(ROWS["fpn_r50"].path, tmp_path / "bare.pth")


def test_random_weights_pass_detectron2_but_not_the_check(tmp_path, backbones):
    """A file of which nothing matches: Detectron2 logs a warning and trains a random, frozen stem."""
    torch.save({"model": {"resnet.weird": torch.ones(1)}, "matching_heuristics": True}, tmp_path / "junk.pth")
    problems, _ = check(ROWS["fpn_r50"].path, tmp_path / "junk.pth")
    assert "265 of 265 backbone tensors stay random" in problems[0]
    content = torch.load(backbones[50], weights_only=True)
    del content["model"]["res4.5.conv2.weight"]
    torch.save(content, tmp_path / "hole.pth")
    problems, _ = check(ROWS["fpn_r50"].path, tmp_path / "hole.pth")
    assert "1 of 265 backbone tensors stay random, e.g. res4.5.conv2.weight" in problems[0]


@pytest.mark.parametrize("kind", ["C4", "FPN"])
def test_lazy_configs(kind, backbones):
    path = LAZY / f"faster_rcnn_R_50_{kind}_3x.py"
    assert check(path, backbones[50]) == ([], [])
    problems, _ = check(path, backbones[50], ["dataloader.train.mapper.image_format=BGR"])
    assert len(problems) == 2  # the test mapper refers to it
    if kind == "C4":
        problems, _ = check(path, backbones[50], ["model.roi_heads.res5.stride_in_1x1=True"])
        assert "roi_heads.res5.0 stride in the wrong" in problems[0]
        assert "res3" not in problems[0]


def test_a_detectors_own_checkpoint_fits_its_config(backbones, tmp_path):
    from detection.detectors.build import load_weights

    for row in ("c4_r50", "fpn_r50"):
        built = build(ROWS[row].path)
        load_weights(built.model, backbones[50])
        torch.save({"model": built.model.state_dict(), "iteration": 1}, tmp_path / "model_final.pth")
        problems, remarks = check(ROWS[row].path, tmp_path / "model_final.pth")
        assert problems == []
        assert "mean and stride are not checked" in remarks[0]


def test_configs_that_cannot_be_checked(backbones, tmp_path):
    for options, message in (
        (["MODEL.RESNETS.DEPTH", "18"], "Detectron2 cannot build .*RES2_OUT_CHANNELS"),
        (["MODEL.RESNTS.DEPTH", "50"], "Detectron2 cannot build .*MODEL.RESNTS.DEPTH"),
    ):
        with pytest.raises(UserError, match=message):
            build(ROWS["fpn_r50"].path, options)
    with pytest.raises(UserError, match="detection.rows lists the built-in ones"):
        build(tmp_path / "none.yaml")
    (tmp_path / "only_model.py").write_text(
        "from detection.detectors.lazy import table11\nmodel = table11('fpn', 50).model\n"
    )
    assert check(tmp_path / "only_model.py", backbones[50]) == ([], [])
    with pytest.raises(UserError, match="no channel order"):
        check(ROWS["fpn_r50"].path, backbones[50], ["MODEL.META_ARCHITECTURE", "ProposalNetwork"])
    torch.save({"model": [1]}, tmp_path / "list.pth")
    with pytest.raises(UserError, match="not a Detectron2 file"):
        check(ROWS["fpn_r50"].path, tmp_path / "list.pth")
    (tmp_path / "bad.yaml").write_text("MODEL: [1")
    with pytest.raises(UserError, match="Detectron2 cannot build .*bad.yaml"):
        build(tmp_path / "bad.yaml")
    with pytest.raises(UserError, match="TimmBackbone checks"):
        check(LAZY / "faster_rcnn_timm_FPN_3x.py", backbones[50])


def test_command_and_exit_codes(backbones, tmp_path, capsys):
    row = str(ROWS["retinanet_r50"].path)
    assert command.main([row, str(backbones[50])]) == 0
    assert command.main(["--config-file", row, "--weights", str(backbones[50]), "INPUT.FORMAT", "BGR"]) == 1
    assert "WRONG: INPUT.FORMAT" in capsys.readouterr().out
    assert command.main([row, str(tmp_path / "none.pth")]) == 2
    assert command.main([row]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 2
    assert all(line.startswith("error: ") for line in errors)


def parted(*words, base=("--backbone", "RUN", "--output", "OUT")):
    options = run.main.read([*base, *words])
    return options, list(options.overrides)


def test_overrides_are_parted_from_flags():
    options, theirs = parted("--num-gpus", "2", "--row", "FPN", "MODEL.WEIGHTS", "a.pth", "SEED", "1")
    assert (options.num_gpus, options.row) == (2, "FPN")
    assert theirs == ["MODEL.WEIGHTS", "a.pth", "SEED", "1"]
    lazy = command.main.read(["R50.V2", "lr=0.1/W.pth", "train.device=x"])
    assert list(lazy.words) == ["R50.V2", "lr=0.1/W.pth", "train.device=x"]
    options, theirs = parted("SEED", "1", base=("--backbone", "epoch=9-step=100.ckpt", "--output", "R50.V2"))
    assert (options.backbone, options.output, theirs) == ("epoch=9-step=100.ckpt", "R50.V2", ["SEED", "1"])
    options, theirs = parted("--eval-only", "SEED", "1")
    assert (options.eval_only, theirs) == (True, ["SEED", "1"])
    options, theirs = parted("--arm=a-b", "--resume")
    assert (options.arm, options.resume, theirs) == ("a-b", True, [])
    options, theirs = parted("--resume", "SOLVER.MAX_ITER", "2")
    assert (options.resume, theirs) == (True, ["SOLVER.MAX_ITER", "2"])
    assert parted()[1] == []
    assert get_option(["SEED", "1", "SEED", "2"], "SEED") == "2"
    assert get_option([], "SEED") is None
    with pytest.raises(UserError, match="KEY VALUE.*'SEED'"):
        check_overrides(["SOLVER.MAX_ITER", "2", "SEED"])


def test_provenance_is_json(backbones):
    made = json.loads(torch.load(backbones[18], weights_only=True)["keepaugment"])
    assert made["format"] == "RGB"
    assert made["stride_in_1x1"] is False
