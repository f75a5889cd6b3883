"""Table 11 from run folders: rows, arms, seeds, NaN, unfinished runs, all four forms."""

import csv
import io
import json

import pytest
import yaml

from detection import collect as command
from detection.collect import CollectOptions
from detection.table11.collect import collect, remarks, tabulate
from detection.table11.outputs import read_run
from detection.table11.rows import ROWS, SCHEDULE
from engine.errors import UserError
from experiments.statistics import mean_std


def run_folder(
    path,
    ap,
    row="fpn_r50",
    iterations=SCHEDULE,
    done=None,
    weights="",
    beta=0.0,
    arm="",
    batch=16,
    world=0,
    gpus=0,
):
    """An OUTPUT_DIR as train_net.py leaves it: an early evaluation, training rows, the last evaluation."""
    kind, depth = row.rsplit("_r", 1)
    name = {"c4": "build_resnet_backbone", "fpn": "build_resnet_fpn_backbone"}
    cfg = {
        "MODEL": {
            "META_ARCHITECTURE": "RetinaNet" if kind == "retinanet" else "GeneralizedRCNN",
            "BACKBONE": {"NAME": name.get(kind, "build_retinanet_resnet_fpn_backbone")},
            "RESNETS": {"DEPTH": int(depth)},
            "RETINANET": {"SMOOTH_L1_LOSS_BETA": beta},
            "WEIGHTS": str(weights),
        },
        "SOLVER": {"MAX_ITER": iterations, "IMS_PER_BATCH": batch, "REFERENCE_WORLD_SIZE": world},
    }
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(yaml.safe_dump(cfg))
    rows = [
        {"bbox/AP": 1.0, "bbox/AP50": 2.0, "bbox/AP-cat": 3.0, "iteration": 10},
        {"total_loss": 1.0, "iteration": 20},
    ]
    rows += [{"bbox/AP": ap, "bbox/AP50": 2 * ap, "iteration": iterations if done is None else done}]
    (path / "metrics.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if arm:
        (path / "keepaugment.json").write_text(json.dumps({"arm": arm, "gpus": gpus}))
    return str(path)


@pytest.fixture
def runs(tmp_path, backbones):
    return [
        run_folder(tmp_path / "a", 40.0, arm="plain"),
        run_folder(tmp_path / "b", 41.0, arm="plain"),
        run_folder(tmp_path / "c", 41.5, weights=backbones[18]),  # the converted file says KeepCutMix
        run_folder(tmp_path / "d", 38.0, row="retinanet_r101", weights="/gone/mine.pth", beta=0.1),
        "plain=" + run_folder(tmp_path / "e", float("nan"), row="c4_r50"),
    ]


def test_table(runs):
    found = [read_run(run) for run in runs]
    assert [(run.row, run.arm) for run in found] == [
        ("fpn_r50", "plain"),
        ("fpn_r50", "plain"),
        ("fpn_r50", "KeepCutMix"),
        ("retinanet_r101", "mine"),
        ("c4_r50", "plain"),
    ]
    header, lines = tabulate(found)
    assert header[4:] == ["ours: plain", "ours: mine", "ours: KeepCutMix"]
    by_title = {line[0]: line[1:] for line in lines}
    assert by_title["Faster R-CNN R50-FPN"] == ["40.2", "40.2", "40.7", "40.50 ± 0.71 (2)", "-", "41.50"]
    assert by_title["RetinaNet R101-FPN"] == ["39.9", "40.4", "41.2", "-", "38.00", "-"]
    assert by_title["Faster R-CNN R50-C4"] == ["38.4", "38.4", "39.5", "-*", "-", "-"]
    assert len(lines) == len(ROWS)
    notes = remarks(found)
    assert "* e: no detections" in notes[0]
    assert "d: SMOOTH_L1_LOSS_BETA 0.1, as in the paper's baseline" in notes[1]


def test_numbers_that_are_no_full_run_are_marked(tmp_path):
    short = read_run(run_folder(tmp_path / "short", 3.0, iterations=2))
    cut = read_run(run_folder(tmp_path / "cut", 30.0, done=89_999))
    full = read_run(run_folder(tmp_path / "full", 40.0, done=SCHEDULE - 1))
    small = read_run(run_folder(tmp_path / "small", 30.0, batch=8))
    assert short.remark == f"2 iterations of 16 instead of {SCHEDULE} of 16"
    assert small.remark == f"{SCHEDULE} iterations of 8 instead of {SCHEDULE} of 16"
    assert "unfinished: iteration 89999" in cut.remark
    assert full.remark == ""
    assert tabulate([short, full])[1][1][4] == "3.00*; 40.00"


def test_schedules_that_detectron2_scaled_to_the_gpus(tmp_path):
    """REFERENCE_WORLD_SIZE 8: twice the iterations on 4 GPUs, half on 16; config.yaml still has the old ones."""
    half, double = SCHEDULE // 2, SCHEDULE * 2
    for name, gpus, done, remark in (
        ("a", 16, half - 1, ""),
        ("b", 4, SCHEDULE, f"unfinished: iteration {SCHEDULE} of {double}"),
        ("c", 4, double - 1, ""),
    ):
        run = run_folder(tmp_path / name, 40.0, done=done, world=8, gpus=gpus, arm="plain")
        assert read_run(run).remark == remark
    assert "not known" in read_run(run_folder(tmp_path / "d", 40.0, done=half, world=8)).remark


def test_a_folder_counts_once_whatever_its_name(tmp_path):
    run = run_folder(tmp_path / "lr=0.02", 40.0, arm="plain")
    assert read_run(run).arm == "plain"
    assert read_run(f"ours={run}").arm == "ours"
    found = json.loads(collect(CollectOptions((run, run, f"ours={run}"), form="json")))
    assert len(next(row for row in found if row["row"] == "fpn_r50")["runs"]) == 1


def test_damaged_notes_and_metrics(tmp_path):
    run = run_folder(tmp_path / "a", 40.0)
    metrics = tmp_path / "a" / "metrics.json"
    metrics.write_text('{"bbox/AP": null, "iteration": 1}\n')
    assert read_run(run).remark == "no detections (AP is NaN)"
    (tmp_path / "a" / "keepaugment.json").write_text("{}")
    assert read_run(run).arm == "random"
    (tmp_path / "a" / "keepaugment.json").write_text("{")
    with pytest.raises(UserError, match="keepaugment.json is not valid JSON"):
        read_run(run)
    metrics.write_text("5\n")
    with pytest.raises(UserError, match="line 1: not a JSON object"):
        read_run(run)


def test_all_forms(runs, tmp_path):
    markdown = collect(CollectOptions(tuple(runs), form="markdown"))
    assert markdown.splitlines()[1].count("---") == 7
    table = list(csv.reader(io.StringIO(collect(CollectOptions(tuple(runs), form="csv")))))
    assert len(table) == 7
    assert {len(line) for line in table} == {7}
    found = json.loads(collect(CollectOptions(tuple(runs), form="json")), parse_constant=pytest.fail)
    by_row = {row["row"]: row for row in found}
    assert by_row["c4_r50"]["runs"][0]["value"] is None
    assert by_row["fpn_r50"]["paper_keepcutmix"] == 40.7
    assert [run["value"] for run in by_row["fpn_r50"]["runs"]] == [40.0, 41.0, 41.5]
    text = collect(CollectOptions(tuple(runs), out=str(tmp_path / "table.txt")))
    assert "RetinaNet R101-FPN" in text
    assert (tmp_path / "table.txt").read_text() == text + "\n"
    other = collect(CollectOptions(tuple(runs), metric="bbox/AP50", form="csv"))
    assert "81.00" in other
    assert "40.2" not in other  # the paper has box AP only


def test_mean_std():
    assert mean_std([]) == "-"
    assert mean_std([40.125]) == "40.12"
    assert mean_std([40.0, 41.0, 42.0], count=True) == "41.00 ± 1.00 (3)"


def test_a_last_line_cut_short_is_left_out(tmp_path):
    folder = run_folder(tmp_path / "a", 40.0)
    path = tmp_path / "a" / "metrics.json"
    path.write_text(path.read_text() + '{"total_lo')
    assert read_run(folder).value == 40.0
    path.write_text('{"total_lo\n' + path.read_text())
    with pytest.raises(UserError, match="line 1"):
        read_run(folder)


def test_lazy_runs(tmp_path):
    """A LazyConfig's dump, with the Python object that Detectron2 writes into it."""
    folder = tmp_path / "lazy"
    run_folder(folder, 40.0)
    (folder / "config.yaml").write_text(
        "model:\n  _target_: detectron2.modeling.GeneralizedRCNN\n  backbone:\n"
        "    _target_: detectron2.modeling.FPN\n    bottom_up: {stages: {depth: 101}}\n"
        "  head: !!python/object:detectron2.layers.shape_spec.ShapeSpec {channels: 3}\n"
        "train: {max_iter: 270000, init_checkpoint: mine.pth}\n"
        "dataloader: {train: {total_batch_size: 16}}\n"
    )
    run = read_run(str(folder))
    assert (run.row, run.arm, run.expected) == ("fpn_r101", "mine", SCHEDULE)


def test_mistakes(tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "metrics.json").write_text('{"total_loss": 1.0, "iteration": 19}\n')
    run = run_folder(tmp_path / "a", 40.0)
    for argv, message in (
        ([str(empty)], "metrics.json not found"),
        ([str(tmp_path / "begun")], "no evaluation"),
        ([run, "--form", "markdwn"], "did you mean 'markdown'"),
        ([run, "--metric", "bbox/AP95"], "bbox/AP, bbox/AP50$"),
        ([], "runs"),
    ):
        assert command.main(argv) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        import re

        assert re.search(message, error.strip()), error
