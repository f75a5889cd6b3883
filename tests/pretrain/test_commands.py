"""Every recipe through the real command line, two steps on generated data; resuming; mistakes."""

import json

import pytest
import torch

from engine import checkpoint
from pretrain import evaluate, pictures, train
from pretrain.config import RECIPES
from pretrain.grid import GRID

RECIPE_NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
CELLS = {cell.name: cell for cell in GRID.cells if GRID.home(cell) == cell.name}
SMALLER = {
    "cifar_resnet18": {"width": 4},
    "cifar_resnet110": {"depth": 8},
    "wrn_28_10": {"depth": 10, "widen": 1},
    "shake_shake_26_2x96d": {"width": 4},
    "pyramidnet_272_shakedrop": {"depth": 11, "alpha": 6},
}
TINY = ["--data.workers", "0", "--device", "cpu", "--model.name", "wrn_10_1", "--model.options", "{}"]


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPE_NAMES)
def test_recipe(recipe, tmp_path, class_folders):
    size = "32" if recipe.startswith("cifar10") else "48"
    argv = ["--config", recipe, "--max_steps", "2", "--output", str(tmp_path / "run"), "--device", "cpu"]
    argv += ["--data.root", str(class_folders), "--data.batch_size", "4", "--data.image_size", size]
    argv += ["--data.workers", "0"]
    if recipe == "finetune":
        argv += ["--model.pretrained", "false"]  # no network in tests; test_start.py has the rest
    if recipe.startswith("demo"):
        argv += ["--data.dataset", "folder"]
    assert train.main(argv) == 0
    (row,) = rows(tmp_path / "run")
    assert row["step"] == 2
    assert row["loss"] > 0
    assert 0 <= row["top1"] <= row["top5"] <= 100
    saved = checkpoint.load(tmp_path / "run" / "best.pth")
    assert not any(name.startswith(("model.", "fc.0")) for name in saved["state_dict"])  # no early head in it


@pytest.mark.parametrize("op", ["paste", "none"])
def test_randaugment_on_the_device(op, tmp_path, class_folders):
    argv = ["--config", "cifar10_resnet18_keepcutout_lowres", "--data.root", str(class_folders), *TINY]
    argv += ["--policy.name", "randaugment", "--policy.on", "device", "--augment.op", op, "--data.batch_size", "4"]
    assert train.main([*argv, "--max_steps", "2", "--output", str(tmp_path / "run")]) == 0
    (row,) = rows(tmp_path / "run")
    assert row["loss"] > 0
    assert ("box_saliency_share" in row) == (op == "paste")


@pytest.mark.slow
@pytest.mark.parametrize("name", CELLS)
def test_cell(name, tmp_path, class_folders):
    """Every cell of every table, two steps; CIFAR's networks are shallower and narrower relatives."""
    cell = CELLS[name]
    model = cell.config["model"]
    options = model.get("options", {}) | SMALLER.get(model["name"], {})
    size = "32" if cell.config["data"]["dataset"] == "cifar10" else "48"
    argv = ["--config", name, "--max_steps", "2", "--output", str(tmp_path / "run"), "--device", "cpu"]
    argv += ["--data.root", str(class_folders), "--data.batch_size", "4", "--data.image_size", size]
    argv += ["--data.workers", "0", "--model.options", json.dumps(options)]
    argv += ["--baseline.grid", "[12, 24]"]
    assert train.main(argv) == 0
    (row,) = rows(tmp_path / "run")
    assert row["step"] == 2
    assert row["loss"] > 0
    selective = cell.config.get("augment", {}).get("selective", "augment" in cell.config)
    assert (row.get("box_saliency_share") is not None) == selective


@pytest.mark.slow
def test_resuming_gives_the_uninterrupted_run(tmp_path, class_folders):
    argv = ["--data.dataset", "folder", "--data.root", str(class_folders), "--data.batch_size", "8", *TINY]
    argv += ["--epochs", "3", "--augment.op", "cutmix", "--augment.scale", "0.5", "--ema_decay", "0.9"]
    argv += ["--data.image_size", "16", "--augment.head", "early"]
    assert train.main([*argv, "--output", str(tmp_path / "whole")]) == 0
    part = [*argv, "--output", str(tmp_path / "part")]
    assert train.main([*part, "--max_steps", "5"]) == 0
    assert train.main(part) == 2  # neither resume nor overwrite
    assert train.main([*part, "--resume"]) == 0
    timing = ("images_per_second", "data_wait_share", "seconds")
    whole, resumed = (
        [{k: v for k, v in row.items() if k not in timing} for row in rows(tmp_path / name)]
        for name in ("whole", "part")
    )
    assert whole == resumed
    a, b = (checkpoint.load(tmp_path / n / "last.pth") for n in ("whole", "part"))
    for key in ("state_dict", "state_dict_ema"):
        assert all(torch.equal(a[key][name], b[key][name]) for name in a[key])


@pytest.mark.slow
def test_accumulated_batches_are_one_large_batch(tmp_path, class_folders):
    """Without BatchNorm, two batches of 4 before each update equal one of 8."""
    argv = ["--data.dataset", "folder", "--data.root", str(class_folders), "--data.workers", "0"]
    argv += ["--model.name", "resnet18", "--model.options", '{"norm_layer": "groupnorm"}', "--epochs", "1"]
    argv += ["--device", "cpu", "--data.image_size", "32", "--optim.lr", "0.01", "--optim.clip_grad", "1.0"]
    assert train.main([*argv, "--data.batch_size", "8", "--output", str(tmp_path / "a")]) == 0
    accumulated = ["--data.batch_size", "4", "--accumulate", "2", "--output", str(tmp_path / "b")]
    assert train.main([*argv, *accumulated]) == 0
    a, b = (checkpoint.load(tmp_path / name / "last.pth") for name in "ab")
    assert (a["resume"]["position"]["updates"], b["resume"]["position"]["updates"]) == (5, 5)
    for name, value in a["state_dict"].items():
        assert (value - b["state_dict"][name]).abs().max() <= 1e-4 * value.abs().max() + 1e-6, name
    assert train.main([*argv, "--accumulate", "0", "--output", str(tmp_path / "c")]) == 2


@pytest.mark.slow
def test_a_failed_resume_changes_nothing(tmp_path, class_folders, capsys):
    argv = ["--data.dataset", "folder", "--data.root", str(class_folders), "--data.batch_size", "8", *TINY]
    argv += ["--data.image_size", "16", "--output", str(tmp_path / "run")]
    assert train.main([*argv, "--max_steps", "2"]) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert train.main([*argv, "--resume", "--model.name", "cifar_resnet18"]) == 2
    assert "has weights of a different architecture" in capsys.readouterr().err
    after = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir() if path.is_file()}
    assert before == after


@pytest.mark.slow
def test_pictures_of_a_run(tmp_path, class_folders, capsys):
    argv = ["--data.dataset", "folder", "--data.root", str(class_folders), "--data.batch_size", "8", *TINY]
    argv += ["--max_steps", "1", "--data.image_size", "16"]
    cut = ["--augment.op", "cutout", "--augment.length", "4"]
    assert train.main([*argv, *cut, "--output", str(tmp_path / "run")]) == 0
    assert pictures.main([str(tmp_path / "run"), str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert train.main([*argv, "--output", str(tmp_path / "plain")]) == 0
    assert pictures.main([str(tmp_path / "plain"), str(tmp_path / "b.png")]) == 2
    assert "cuts no regions" in capsys.readouterr().err


@pytest.mark.slow
def test_evaluate_repeats_the_number_of_training(tmp_path, class_folders, capsys):
    argv = ["--data.dataset", "folder", "--data.root", str(class_folders), "--data.batch_size", "8", *TINY]
    assert train.main([*argv, "--epochs", "1", "--output", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert evaluate.main([str(tmp_path / "run"), "--device", "cpu", "--workers", "0"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["top1"] == rows(tmp_path / "run")[-1]["top1"]
    assert evaluate.main([str(tmp_path / "nothing.pth")]) == 2
    assert "nothing.pth" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model.name", "resnet51"], "did you mean 'resnet5"),
        (["--augment.op", "cutmux"], "cutmux"),
        (["--augment.op", "paste"], "policy"),
        (["--optim.schedule", "linear"], "optim.schedule must be one of"),
        (["--device", "tpu"], "device must be one of"),
        (["--data.crop", "centre"], "data.crop must be one of"),
        (["--policy.name", "randaug"], "policy.name must be one of"),
        (["--resume"], "nothing to resume"),
        (["--sync_bn"], "on GPUs only"),
        (["--baseline.name", "mixpu"], "baseline.name must be one of"),
        (["--policy.name", "randaugment", "--policy.scale", "tv32"], "policy.scale must be one of"),
        (["--policy.name", "augmix", "--policy.on", "device"], "device supports only randaugment with scale tv31"),
        (["--policy.name", "randaugment", "--policy.on", "gpu"], "policy.on must be one of workers, device"),
        (["--model.drop_block", "0.1"], "drop_block needs"),
        (["--label_smoothing", "2"], "label_smoothing must be in [0, 1], got 2"),
        (["--data.crop_pct", "-1"], "data.crop_pct must be in [0, 1], got -1"),
        (["--data.area", "[0.5, 0.1]"], "data.area must be an increasing range"),
        (["--optim.warmup_epochs", "-1"], "optim.warmup_epochs must be at least 0"),
        (["--baseline.name", "manifold_mixup", "--compile"], "--compile ignores"),
        (["--data.resident", "yes"], "not in memory"),
        (["--config", "table2/cutout-l17"], "did you mean 'table2/cutout-l1"),
    ],
)
def test_mistakes(argv, message, tmp_path, class_folders, capsys):
    base = ["--data.dataset", "folder", "--data.root", str(class_folders), "--data.batch_size", "4", *TINY]
    assert train.main([*base, "--output", str(tmp_path / "run"), *argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_diverging_run_stops_and_keeps_the_last_good_checkpoint(tmp_path, class_folders, capsys):
    base = ["--data.dataset", "folder", "--data.root", str(class_folders), "--data.batch_size", "8", *TINY]
    base += ["--output", str(tmp_path / "run"), "--epochs", "4", "--data.image_size", "16"]
    assert train.main([*base, "--max_steps", "5"]) == 0
    state = checkpoint.load(tmp_path / "run" / "last.pth")
    state["resume"]["model"]["fc.weight"].fill_(float("nan"))
    checkpoint.save(state, tmp_path / "run" / "last.pth")
    poisoned = (tmp_path / "run" / "last.pth").read_bytes()
    capsys.readouterr()
    assert train.main([*base, "--resume"]) == 2
    assert "the loss is nan near step" in capsys.readouterr().err
    assert (tmp_path / "run" / "last.pth").read_bytes() == poisoned
