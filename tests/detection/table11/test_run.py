"""The chain through real processes: the six rows, resuming, and that a detector learns."""

import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from detection import run as chain
from detection.coco.subset import subset
from detection.run import RunOptions
from detection.table11.launch import train_net
from detection.table11.rows import CONFIGS, ROWS
from detection.table11.run import train_command
from tests.detection.conftest import ROOT, command

SCRIPT = ("train_net.py",)


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.json").read_text().splitlines()]


@pytest.fixture(scope="module")
def six(sources, demo, tmp_path_factory):
    """All rows by the one command, two at a time with one thread each."""
    out = tmp_path_factory.mktemp("table11")

    def one(name):
        argv = ["--backbone", sources[ROWS[name].depth], "--row", name, "--output", out / name, "--quick"]
        words = [
            sys.executable,
            "-m",
            "detection.run",
            *map(str, argv),
            "--data",
            str(demo / "detection"),
            "--seed",
            "3",
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(2) as pool:
        return out, dict(zip(ROWS, pool.map(one, ROWS), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_row(name, six):
    out, done = six
    assert done[name].returncode == 0, done[name].stderr[-3000:]
    assert "verified" in done[name].stdout
    assert "every backbone tensor is filled" in done[name].stdout
    assert any("bbox/AP" in row for row in metrics(out / name))
    assert (out / name / "model_final.pth").is_file()
    table = next(line for line in done[name].stdout.splitlines() if ROWS[name].title in line)
    assert str(ROWS[name].keep) in table
    assert "*" in table  # two iterations are no Table 11
    made = json.loads((out / name / "keepaugment.json").read_text())
    assert (made["arm"], made["backbone"]["arch"]) == ("KeepCutMix", f"resnet{ROWS[name].depth}")


@pytest.mark.slow
def test_resuming_goes_on_where_it_was(six, sources, demo, tmp_path):
    """A finished folder is not trained over; --resume does not convert again and starts at the right iteration."""
    out, _ = six
    folder = out / "fpn_r50"
    before = (folder / "backbone.pth").stat().st_mtime_ns
    base = ["-m", "detection.run", "--backbone", sources[50], "--row", "fpn_r50", "--output", folder, "--quick"]
    base += ["--data", demo / "detection"]
    assert "continue it with --resume" in command(*base, code=2)
    said = command(*base, "--resume", "SOLVER.MAX_ITER", "3")
    assert "Starting training from iteration 2" in said
    assert (folder / "backbone.pth").stat().st_mtime_ns == before
    assert torch.load(folder / "model_final.pth", weights_only=True)["iteration"] == 2
    said = command(*base, "--eval-only")
    assert "copypaste: Task: bbox" in said
    # another backbone, or another row, would put a wrong name on the old detector
    other = [word if word != sources[50] else sources[18] for word in base]
    assert "trained from a backbone other than" in command(*other, "--eval-only", code=2)
    other = [word if word != "fpn_r50" else "c4_r50" for word in base]
    assert "trained with fpn_r50, not with c4_r50" in command(*other, "--resume", code=2)
    assert (folder / "backbone.pth").stat().st_mtime_ns == before
    note = json.loads((folder / "keepaugment.json").read_text())
    (folder / "keepaugment.json").unlink()
    assert "not started by detection.run" in command(*base, "--resume", code=2)
    (folder / "keepaugment.json").write_text(json.dumps(note))


@pytest.mark.slow
def test_a_converted_backbone_learns_eight_images(demo, sources, tmp_path):
    """Boxes, category ids, weights and evaluation fit together: AP50 > 20 well before 200 iterations."""
    data = tmp_path / "data"
    subset(demo / "detection", data, "val2017", 8)
    weights = tmp_path / "r18.pth"
    command(ROOT / "tools" / "convert_to_d2.py", sources[18], weights)
    options = ["MODEL.WEIGHTS", weights, "OUTPUT_DIR", tmp_path / "run", "DATASETS.TRAIN", "('coco_2017_val',)"]
    options += ["MODEL.BACKBONE.FREEZE_AT", 0, "MODEL.RESNETS.NORM", "BN", "SOLVER.MAX_ITER", 100, "SEED", 1]
    options += ["SOLVER.STEPS", "(85,)", "SOLVER.WARMUP_ITERS", 20, "SOLVER.BASE_LR", 0.02]
    options += ["DATALOADER.NUM_WORKERS", 0]
    flags = ["--num-gpus", 0, "--config-file", CONFIGS / "demo_faster_rcnn_R_18_FPN.yaml"]
    command(train_net(), *flags, *options, env={"DETECTRON2_DATASETS": str(data), "OMP_NUM_THREADS": "2"})
    rows = metrics(tmp_path / "run")
    losses = [row["total_loss"] for row in rows if "total_loss" in row]
    assert losses[-1] < losses[0] / 2
    assert next(row for row in reversed(rows) if "bbox/AP50" in row)["bbox/AP50"] > 20


def test_the_command_line_of_train_net(tmp_path):
    argv = ["--backbone", "b", "--output", "out", "--row", "fpn_r50", "--num-gpus", "8", "--num-machines", "2"]
    argv += [
        "--machine-rank",
        "1",
        "--dist-url",
        "tcp://host:1",
        "--resume",
        "--seed",
        "4",
        "SOLVER.AMP.ENABLED",
        "True",
    ]
    words = train_command(chain.main.read(argv), ROWS["fpn_r50"].path, tmp_path / "w.pth", SCRIPT)
    flags = dict(itertools.pairwise(words))
    assert words[:2] == [sys.executable, "train_net.py"]
    assert (flags["--num-gpus"], flags["--num-machines"], flags["--machine-rank"]) == ("8", "2", "1")
    assert flags["--dist-url"] == "tcp://host:1"
    assert "--resume" in words
    assert flags["SEED"] == "4"
    assert words[-2:] == ["SOLVER.AMP.ENABLED", "True"]
    assert "MODEL.DEVICE" not in words
    quick = train_command(
        RunOptions(backbone="b", output="o", quick=True), ROWS["fpn_r50"].path, tmp_path / "w.pth", SCRIPT
    )
    assert quick[quick.index("--num-gpus") + 1] == "0"
    assert "MODEL.DEVICE" in quick
    only = train_command(
        RunOptions(backbone="b", output="o", eval_only=True), ROWS["fpn_r50"].path, tmp_path / "w.pth", SCRIPT
    )
    assert {"--eval-only", "--resume"} <= set(only)  # the last checkpoint, not the backbone


def test_mistakes(demo, sources, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DETECTRON2_DATASETS", raising=False)
    monkeypatch.chdir(tmp_path)
    torch.save({"arch": "resnet50d", "state_dict": {"conv1.0.weight": torch.ones(1)}}, tmp_path / "deep.pth")
    base = ["--output", "out", "--backbone"]
    data = ["--data", str(demo / "detection"), "--quick"]
    good = [*base, str(sources[50])]
    for argv, message in (
        (good, "either --row"),
        ([*good, "--row", "fpn_r50", "--config-file", "x.yaml"], "either --row"),
        ([*good, "--row", "fpn_r5"], "did you mean 'fpn_r50'"),
        ([*good, "--config-file", "x.yaml"], "x.yaml not found"),
        (
            [*good, *data, "--config-file", str(CONFIGS / "lazy" / "retinanet_R_50_FPN_3x.py")],
            "is not a YAML file",
        ),
        ([*good, "--row", "fpn_r50", "--quick"], "DETECTRON2_DATASETS"),
        ([*good, "--row", "fpn_r50", *data, "--resume"], "nothing to resume"),
        ([*good, "--row", "fpn_r50", *data, "SOLVER.MAX_ITER"], "KEY VALUE"),
        ([*good, "--row", "fpn_r50", *data, "--backbne", "x"], "did you mean --backbone"),
        ([*base, "deep.pth", "--row", "fpn_r50", *data], "deep stem"),
        ([*base, "gone.pth", "--row", "fpn_r50", *data], "gone.pth not found"),
        ([*base, str(sources[101]), "--row", "fpn_r50", *data, "MODEL.NOT.THERE", "1"], "Non-existent key"),
    ):
        assert chain.main(argv) == 2, message
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "out" / "keepaugment.json").exists()
    if not torch.cuda.is_available():
        assert chain.main([*good, "--row", "fpn_r50", *data[:2]]) == 2
        assert "use --quick for a test on the CPU" in capsys.readouterr().err
    assert chain.main([*base, str(sources[101]), "--row", "fpn_r50", *data]) == 1  # another depth than the row's
    assert "not used by the model" in capsys.readouterr().out
    assert not list((tmp_path / "out").glob("**/*"))  # nothing of what did not fit
