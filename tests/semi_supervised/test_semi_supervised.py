import json
import math

import pytest
import torch

from keepcore.run.errors import UserError
from semi_supervised import evaluate, train
from semi_supervised.config import RECIPES
from semi_supervised.losses import consistency_loss, supervised_loss, tsa_threshold
from semi_supervised.split import endless, fingerprint, labelled_subset

RECIPE_NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))


def test_tsa_has_the_official_schedule():
    """google-research/uda: scale(progress) * (1 - 1/K) + 1/K with linear, exp and log scales."""
    assert tsa_threshold("linear", 0.5, 10) == pytest.approx(0.5 * 0.9 + 0.1)
    assert tsa_threshold("exp", 0.5, 10) == pytest.approx(math.exp(-2.5) * 0.9 + 0.1)
    assert tsa_threshold("log", 0.5, 10) == pytest.approx((1 - math.exp(-2.5)) * 0.9 + 0.1)
    assert tsa_threshold("linear", 1.0, 10) == tsa_threshold("exp", 1.0, 10) == 1.0
    with pytest.raises(ValueError, match="uda.tsa"):
        tsa_threshold("square", 0.5, 10)


def test_supervised_loss_counts_the_right_labels_probability():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    labels = torch.tensor([0, 0])  # p = .881 and .119
    low, high = math.log(1 + math.exp(-2)), math.log(1 + math.exp(2))
    assert supervised_loss(logits, labels).item() == pytest.approx((low + high) / 2)
    assert supervised_loss(logits, labels, 0.5).item() == pytest.approx(high)
    assert supervised_loss(logits, labels, 0.1).item() == 0.0


def test_consistency_by_hand():
    weak = torch.tensor([[2.0, 0.0], [0.1, 0.0]], requires_grad=True)  # confidence .881 and .525
    strong = torch.tensor([[1.0, 0.0], [3.0, 0.0]], requires_grad=True)
    loss, share = consistency_loss(weak, strong, temperature=0.4, threshold=0.8)
    p = 1 / (1 + math.exp(-2 / 0.4))
    q = 1 / (1 + math.exp(-1.0))
    divergence = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert loss.item() == pytest.approx(divergence / 2, rel=1e-5)  # mean over ALL images
    assert share.item() == 0.5
    loss.backward()
    assert weak.grad is None
    assert strong.grad[1].abs().sum() == 0


def test_splits_are_balanced_and_frozen():
    labels = [i % 10 for i in range(50_000)]
    hashes = {}
    for count in (4000, 2500, 250, 40):
        for seed in range(3):
            chosen = labelled_subset(labels, count, seed)
            assert len(set(chosen)) == count
            assert {sum(labels[i] == c for i in chosen) for c in range(10)} == {count // 10}
            hashes[count, seed] = fingerprint(chosen)
    assert len(set(hashes.values())) == len(hashes)
    assert hashes[250, 0] == "459717d11e6fe700"
    for count in (5, 255, 60_000):
        with pytest.raises(UserError, match=r"data\.labels"):
            labelled_subset(labels, count, 0)


def test_endless_passes_read_on_across_epochs():
    plan = endless(5, 3, 4, seed=0, purpose="x", rank=0, processes=1)
    flat = [i for epoch in range(5) for batch in plan(epoch) for i in batch]
    assert len(flat) == 60
    for start in range(0, 60, 5):
        assert sorted(flat[start : start + 5]) == [0, 1, 2, 3, 4]
    halves = [endless(7, 4, 3, 0, "x", r, 2)(1) for r in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == endless(7, 4, 3, 0, "x", 0, 1)(1)


SMALL = ["--data.dataset", "folder", "--data.labels", "20", "--data.labelled_batch", "4"]
SMALL += ["--data.unlabelled_batch", "6", "--data.workers", "0", "--device", "cpu"]
SMALL += ["--model", "wrn_10_1", "--max_steps", "2"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPE_NAMES)
def test_recipe(recipe, class_folders, tmp_path, capsys):
    output = ["--output", str(tmp_path / "run"), "--data.root", str(class_folders)]
    assert train.main(["--config", recipe, *SMALL, *output]) == 0
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["supervised_loss"] > 0
    capsys.readouterr()
    assert evaluate.main([str(tmp_path / "run"), "--device", "cpu"]) == 0
    assert json.loads(capsys.readouterr().out)["top1"] == row["top1"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--uda.threshold", "1.2"], "uda.threshold must be in [0, 1]"),
        (["--uda.temperature", "0"], "uda.temperature must be positive"),
        (["--data.labels", "7"], "data.labels"),
        (["--uda.tsa", "square"], "uda.tsa"),
        (["--augment.op", "cutout"], "op paste"),
    ],
)
def test_mistakes(argv, message, class_folders, tmp_path, capsys):
    output = ["--output", str(tmp_path / "run"), "--data.root", str(class_folders)]
    assert train.main(["--config", "demo_uda_keeprandaugment", *SMALL, *output, *argv]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
