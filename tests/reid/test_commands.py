import json

import pytest
import torch

from engine import checkpoint
from reid import compare, evaluate, export, extract, search, train
from reid.config import RECIPES

RECIPE_NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
CPU = ["--device", "cpu", "--workers", "0"]
SMALL = ["--data.height", "64", "--data.width", "32", "--data.identities", "2", "--data.images", "2"]


def arguments(demo, tmp_path, recipe):
    argv = ["--config", recipe, "--data.dataset", "demo", "--data.root", str(demo), *SMALL]
    return [*argv, "--data.workers", "0", "--device", "cpu", "--output", str(tmp_path / "run")]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPE_NAMES)
def test_recipe(recipe, demo, tmp_path, capsys):
    argv = [*arguments(demo, tmp_path, recipe), "--max_steps", "2"]
    if recipe.startswith("market"):
        argv += ["--model.name", "resnet50"]
    assert train.main(argv) == 0
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["triplet_loss"] >= 0
    assert 0 < row["mAP"] <= 100
    capsys.readouterr()
    assert evaluate.main([str(tmp_path / "run"), *CPU]) == 0
    assert json.loads(capsys.readouterr().out)["mAP"] == pytest.approx(row["mAP"], abs=1e-3)


def test_published_learning_rates(demo, tmp_path):
    """3.5e-6 in epoch 1, 3.5e-4 from epoch 11, drops in epochs 41 and 71, as in the strong baseline's log."""
    from torch import nn

    from engine.setup import build_accelerator, build_engine

    argv = ["--config", "market1501_strong_baseline", "--device", "cpu"]
    config = train.main.read(argv)
    engine = build_engine(config, build_accelerator(config), nn.Linear(1, 1), 183)
    rates = {}
    for epoch in range(120):
        engine.start_epoch(epoch)
        engine.scheduler.step_update(epoch * 183)
        rates[epoch + 1] = engine.lr
    want = {1: 3.5e-6, 11: 3.5e-4, 40: 3.5e-4, 41: 3.5e-5, 70: 3.5e-5, 71: 3.5e-6, 120: 3.5e-6}
    assert {epoch: rates[epoch] for epoch in want} == pytest.approx(want)


@pytest.mark.slow
def test_a_pretrained_backbone_is_taken_over(demo, tmp_path):
    import timm

    source = timm.create_model("resnet18", num_classes=7)
    checkpoint.save({"arch": "resnet18", "state_dict": source.state_dict()}, tmp_path / "backbone.pth")
    argv = arguments(demo, tmp_path, "demo_plain")
    argv += ["--model.weights", str(tmp_path / "backbone.pth"), "--max_steps", "1", "--optim.lr", "0"]
    argv += ["--optim.warmup_epochs", "0"]
    assert train.main(argv) == 0
    saved = checkpoint.load(tmp_path / "run" / "last.pth")["state_dict"]
    assert torch.equal(saved["backbone.layer4.1.conv2.weight"], source.layer4[1].conv2.weight)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--augment.op", "cutmix"], "augment.op must be none, erasing or cutout"),
        (["--augment.head", "early"], "augment.head must be full"),
        (["--data.identities", "50"], "data.identities must be in [1, "),
        (["--model.name", "resnet5O"], "did you mean"),
        (["--data.dataset", "market1501", "--data.root", "/nowhere"], "/bounding_box_train not found"),
    ],
)
def test_mistakes(argv, message, demo, tmp_path, capsys):
    assert train.main([*arguments(demo, tmp_path, "demo_selective"), *argv]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.fixture(scope="module")
def run(demo, tmp_path_factory):
    """A network after a few steps with selective erasing."""
    out = tmp_path_factory.mktemp("trained")
    assert train.main([*arguments(demo, out, "demo_selective"), "--max_steps", "4"]) == 0
    return out / "run"


@pytest.mark.slow
def test_evaluation_commands(run, demo, tmp_path, capsys):
    """Run folder, its features, pictures and page, flip, re-ranking, comparison of two."""

    def evaluated(*argv, command=evaluate):
        capsys.readouterr()
        assert command.main([*map(str, argv), "--resamples", "50"]) == 0
        said = capsys.readouterr()
        return json.loads(said.out), said.err

    files = [tmp_path / name for name in ("f.npz", "n.json", "r.png", "page.html")]
    options = ["--save_features", files[0], "--json_file", files[1], "--picture", files[2], "--page", files[3]]
    first, table = evaluated(run, *CPU, *options)
    assert json.loads(files[1].read_text()) == first
    assert first["interval95"]["mAP"][0] <= first["mAP"] <= first["interval95"]["mAP"][1]
    assert "95 %" in table
    page = files[3].read_text()
    for text in ("Ranked lists", "Same person?", "Where erasing falls", f"{first['mAP']:.2f}"):
        assert text in page
    assert page.count("data:image/png") == 3
    again, _ = evaluated("--features", files[0])
    assert again["mAP"] == pytest.approx(first["mAP"])
    flipped, _ = evaluated(run, *CPU, "--flip", "--save_features", tmp_path / "flip.npz")
    assert flipped["flip"] is True
    reranked, _ = evaluated("--features", files[0], "--rerank", "--k1", "6", "--k2", "2", "--single_shot", "2")
    assert reranked["protocol"] == {"rerank": True, "k1": 6, "k2": 2, "resamples": 50, "single_shot": 2}
    assert {"single_shot_rank1"} <= reranked.keys()
    compared, table = evaluated(tmp_path / "flip.npz", files[0], command=compare)
    assert compared["mAP"]["difference"] == pytest.approx(flipped["mAP"] - first["mAP"])
    assert "p " in table
    other, _ = evaluated(run, *CPU, "--dataset", "market1501", "--root", demo / "reid")
    assert other["mAP"] == pytest.approx(first["mAP"])


@pytest.mark.slow
def test_evaluation_mistakes(run, tmp_path, capsys):
    npz = tmp_path / "f.npz"
    assert evaluate.main([str(run), *CPU, "--save_features", str(npz), "--resamples", "0"]) == 0
    capsys.readouterr()
    for argv, message in (
        ([], "give either"),
        ([str(run), "--features", str(npz)], "give either"),
        (["--features", "x.pth"], "must be an .npz"),
        (["--features", str(npz), "--page", str(tmp_path / "p.html")], "no images to show"),
        (["--features", str(npz), "--metric", "l2"], "one of cosine, euclidean"),
        (["--features", str(npz), "--rerank", "--k1", "9999"], "k1 9999"),
        ([str(run), *CPU, "--multi_query"], "no gt_bbox"),
        ([str(run), "--dataset", "market1501", "--root", str(tmp_path)], "bounding_box_train not found"),
    ):
        assert evaluate.main(argv) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert compare.main([str(npz)]) == 2
    assert "required: other" in capsys.readouterr().err


@pytest.mark.slow
def test_extract_and_search(run, demo, tmp_path, capsys):
    folder, npz = demo / "reid" / "bounding_box_test", tmp_path / "g.npz"
    assert extract.main([str(run), str(folder), str(npz), *CPU]) == 0
    query = next((demo / "reid" / "query").iterdir())
    lists = []
    for gallery in (npz, folder):
        out = [tmp_path / "l.json", tmp_path / "l.png"]
        options = ["--top", "3", "--json_file", str(out[0]), "--picture", str(out[1]), *CPU]
        assert search.main([str(run), str(query), str(gallery), *options]) == 0
        lists.append(json.loads(out[0].read_text()))
        assert out[1].stat().st_size > 1000
    assert lists[0] == lists[1]
    (found,) = lists[0]
    scores = [match["similarity"] for match in found["matches"]]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert search.main([str(run), str(folder), str(folder), "--top", "1", "--json_file", str(out[0]), *CPU]) == 0
    for each in json.loads(out[0].read_text()):  # everybody looks most like himself
        assert each["matches"][0]["similarity"] == pytest.approx(1.0, abs=1e-4)
    assert (
        search.main([str(run), str(query), str(npz), "--threshold", "1.1", "--json_file", str(out[0]), *CPU]) == 0
    )
    assert json.loads(out[0].read_text())[0]["matches"] == []
    capsys.readouterr()
    for argv, message in (
        ([str(run), str(query), str(tmp_path / "none.npz")], "not written by reid.extract"),
        ([str(run), str(tmp_path / "nobody"), str(npz)], "nobody not found"),
        ([str(run), str(query), str(npz), "--top", "0"], "top must be"),
    ):
        assert search.main([*argv, *CPU]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert extract.main([str(run), str(folder), "out.npy", *CPU]) == 2


@pytest.mark.slow
def test_export_to_onnx(run, tmp_path, capsys):
    import onnxruntime

    from reid.load_run import load_trained

    out = tmp_path / "reid.onnx"
    assert export.main([str(run), str(out)]) == 0
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    images = torch.randn(5, 3, 64, 32)
    (features,) = session.run(["features"], {"images": images.numpy()})
    with torch.no_grad():
        assert (torch.from_numpy(features) - load_trained(str(run)).model.embed(images)).abs().max() < 1e-4
    assert export.main([str(run), str(tmp_path / "reid.pt")]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["demo_plain", "demo_selective"])
def test_training_end_to_end_learns_to_find_people(recipe, demo, tmp_path):
    """Five epochs on the small demo set: much better than the untrained network."""
    argv = ["--config", recipe, "--data.dataset", "demo", "--data.root", str(demo), *CPU[:2]]
    argv += ["--data.workers", "0", "--data.identities", "4", "--eval_every", "1"]
    assert train.main([*argv, "--output", str(tmp_path / "none"), "--optim.lr", "0", "--max_steps", "1"]) == 0
    assert train.main([*argv, "--output", str(tmp_path / "run")]) == 0
    before, after = (
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1]) for name in ("none", "run")
    )
    assert after["epoch"] == 5
    assert after["loss"] < before["loss"]
    assert after["mAP"] > before["mAP"] + 10


@pytest.mark.slow
def test_multi_query_and_a_corrupt_image(run, demo, tmp_path, capsys):
    """gt_bbox photographs are averaged into the queries; a damaged file is named in one line."""
    import shutil

    root = tmp_path / "market"
    shutil.copytree(demo / "reid", root)
    shutil.copytree(root / "query", root / "gt_bbox")
    options = ["--dataset", "market1501", "--root", str(root), "--resamples", "0", *CPU]
    found = []
    for flags in ([], ["--multi_query"]):
        assert evaluate.main([str(run), *options, *flags]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[1]["mAP"] == pytest.approx(found[0]["mAP"])  # here the photographs are the queries themselves
    assert (found[0]["multi_query"], found[1]["multi_query"]) == (False, True)
    victim = sorted((root / "bounding_box_test").iterdir())[-1]  # the first ones are junk, which nobody reads
    victim.write_bytes(victim.read_bytes()[:100])
    assert evaluate.main([str(run), *options]) == 2
    error = capsys.readouterr().err
    assert victim.name in error
    assert error.count("\n") == 1


@pytest.mark.slow
def test_two_processes(demo, tmp_path):
    """DDP on gloo: each process its identities of the batch and its part of the draws."""
    import os
    import subprocess
    import sys
    from pathlib import Path

    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "-m",
        "reid.train",
    ]
    command += [*arguments(demo, tmp_path, "demo_selective"), "--max_steps", "3", "--ema_decay", "0.9"]
    root, environment = Path(__file__).parents[2], {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (row,) = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert row["step"] == 3
    assert 0 < row["mAP"] <= 100
    assert "state_dict_ema" in checkpoint.load(tmp_path / "run" / "last.pth")
