"""detection.reproduce runs what is missing, continues what was interrupted, and prints Table 11."""

import json

import pytest

from detection import reproduce
from detection.table11.reproduce import cells_of, run_command
from detection.table11.rows import ROWS
from tests.detection.conftest import command


def read(*words):
    return reproduce.main.read(words)


def test_every_backbone_on_every_row_with_every_seed():
    cells = cells_of(read("--backbones", "zoo,plain=a.pth, KeepCutMix=b=c.pth", "--seeds", "0-1"))
    assert len(cells) == len(set(cells)) == 3 * 6 * 2
    assert {(cell.arm, cell.backbone) for cell in cells} == {
        ("zoo", ""),
        ("plain", "a.pth"),
        ("KeepCutMix", "b=c.pth"),
    }
    two = cells_of(read("--backbones", "zoo", "--rows", "fpn_r50,faster_rcnn_R_50_C4_3x"))
    assert [cell.row for cell in two] == ["fpn_r50", "c4_r50"]


def test_the_command_of_a_cell(tmp_path):
    options = read("--backbones", "zoo,plain=a.pth", "--rows", "fpn_r50", "--runs", str(tmp_path), "SEED", "1")
    zoo, plain = (run_command(options, cell) for cell in cells_of(options))
    assert zoo[zoo.index("--baseline") + 1] == "zoo"
    assert "--backbone" not in zoo
    assert plain[plain.index("--backbone") + 1] == "a.pth"
    assert "--baseline" not in plain
    assert plain[-2:] == ["SEED", "1"]
    assert plain[plain.index("--num-gpus") + 1] == "8"
    assert "--resume" not in plain
    folder = tmp_path / "plain" / "fpn_r50" / "seed0"
    folder.mkdir(parents=True)
    (folder / "last_checkpoint").write_text("model_0004999.pth")
    assert "--resume" in run_command(options, cells_of(options)[1])
    (folder / "metrics.json").write_text(json.dumps({"iteration": 269_999, "bbox/AP": 40.0}) + "\n")
    (folder / "config.yaml").write_text(ROWS["fpn_r50"].path.read_text())
    assert "--resume" not in run_command(options, cells_of(options)[1])


@pytest.mark.slow
def test_what_is_missing_is_run_once(sources, demo, tmp_path):
    argv = ["-m", "detection.reproduce", "--backbones", f"KeepCutMix={sources[50]}", "--rows", "retinanet_r50"]
    argv += ["--seeds", "0,3", "--data", demo / "detection", "--runs", tmp_path, "--quick", "--jobs", "2"]
    printed = command(*argv, "SOLVER.MAX_ITER", "1")
    assert printed.count("running ") == 2
    table = next(line for line in printed.splitlines() if "RetinaNet R50-FPN" in line and "(2)" in line)
    assert "39.1" in table
    assert all((tmp_path / "KeepCutMix/retinanet_r50" / f"seed{n}/model_final.pth").is_file() for n in (0, 3))
    again = command(*argv, "SOLVER.MAX_ITER", "1")
    assert "running " not in again
    assert "(2)" in again
    assert command(*argv, "--list").count("finished") == 2
    whole = [word for word in argv if word != "--quick"]
    assert "holds a quick test" in command(*whole, "--num-gpus", "0", code=2)
    other = [str(word).replace(str(sources[50]), str(sources[101])) for word in argv]
    assert "trained from a backbone other than" in command(*other, "SOLVER.MAX_ITER", "1", code=2)


def test_mistakes(capfd, tmp_path):
    for argv, message in (
        (["--backbones", "a.pth"], "backbones: expected ARM=CHECKPOINT or zoo, got 'a.pth'"),
        (["--backbones", "a=b,a=c"], "backbones: a occurs twice"),
        (["--backbones", "zoo", "--rows", "fpn_r5"], "did you mean 'fpn_r50'"),
        (["--backbones", "zoo", "--seeds", "x"], "seeds must look like"),
        (["--backbones", "zoo", "--jobs", "0"], "jobs must be at least 1"),
        (["--backbones", "zoo", "SEED"], "KEY VALUE"),
    ):
        assert reproduce.main([*argv, "--runs", str(tmp_path)]) == 2
        assert message in capfd.readouterr().err
    assert reproduce.main(["--backbones", "a=none.pth", "--rows", "fpn_r50", "--runs", str(tmp_path)]) == 1
    assert "failed with exit code 2" in capfd.readouterr().err
