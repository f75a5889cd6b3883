"""The whole chain on real commands: pretrain -> convert -> Detectron2's train_net; and two processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from detection.table11.launch import train_net

ROOT = Path(__file__).parents[1]


def run(*command, **env):
    done = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_from_pixels_to_boxes(demo, tmp_path):
    backbone, weights, detector = tmp_path / "backbone", tmp_path / "r18.pth", tmp_path / "detector"
    data = ["--data.dataset", "demo", "--data.root", demo, "--data.workers", "0", "--data.batch_size", "8"]
    run("-m", "pretrain.train", "--config", "demo_keepcutmix", *data, "--max_steps", "2", "--output", backbone)
    said = run("tools/convert_to_d2.py", backbone, weights, "--verify")
    assert "resnet18" in said
    assert "verified" in said
    options = ["MODEL.WEIGHTS", weights, "OUTPUT_DIR", detector, "SOLVER.MAX_ITER", 2, "SOLVER.STEPS", "()"]
    options += ["SOLVER.IMS_PER_BATCH", 2, "DATALOADER.NUM_WORKERS", 0]
    config = ROOT / "detection" / "configs" / "demo_faster_rcnn_R_18_FPN.yaml"
    run(
        train_net(),
        "--num-gpus",
        0,
        "--config-file",
        config,
        *options,
        DETECTRON2_DATASETS=str(demo / "detection"),
    )
    rows = [json.loads(line) for line in (detector / "metrics.json").read_text().splitlines()]
    assert any("bbox/AP" in row for row in rows)


@pytest.mark.slow
def test_two_processes(class_folders, tmp_path):
    """DDP on gloo: the saliency pass does not disturb the reducer, the main process writes one run."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "pretrain.train"]
    command += ["--data.dataset", "folder", "--data.root", class_folders, "--data.batch_size", "8"]
    command += ["--data.workers", "0", "--device", "cpu", "--data.image_size", "16", "--model.name", "wrn_10_1"]
    command += ["--augment.op", "cutout", "--augment.length", "4", "--augment.head", "early", "--epochs", "2"]
    run(*command, "--output", tmp_path / "run", OMP_NUM_THREADS="1")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [5, 10]
    assert rows[-1]["top1"] * 20 % 100 == pytest.approx(0)  # 20 images, each counted once


@pytest.mark.slow
def test_two_processes_give_the_run_of_one(class_folders, tmp_path):
    """Equal global batch, GroupNorm (BatchNorm's batch is the process's own): equal up to summation order."""
    from engine import checkpoint

    train = ["-m", "pretrain.train", "--data.dataset", "folder", "--data.root", class_folders]
    train += ["--data.batch_size", "8", "--data.workers", "0", "--device", "cpu", "--data.image_size", "32"]
    train += ["--model.name", "resnet18", "--model.options", '{"norm_layer": "groupnorm"}', "--epochs", "2"]
    train += ["--augment.op", "cutout", "--augment.length", "8", "--optim.lr", "0.01", "--data.lighting", "0.1"]
    two = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    run(*train, "--output", tmp_path / "one", OMP_NUM_THREADS="1")
    run(*two, *train, "--output", tmp_path / "two", OMP_NUM_THREADS="1")
    one, both = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    for a, b in zip(one, both, strict=True):
        assert a["box_area_share"] == pytest.approx(b["box_area_share"], rel=1e-5)  # the very same boxes
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4)
        assert a["top1"] == b["top1"]
    weights = [checkpoint.load(tmp_path / name / "last.pth")["state_dict"] for name in ("one", "two")]
    for name, value in weights[0].items():
        assert (value - weights[1][name]).abs().max() <= 1e-4 * value.abs().max() + 1e-6, name


SAME_REGIONS = """
import sys, timm, torch, networks
import torch.distributed as dist
from keepcore import KeepCutout
dist.init_process_group("gloo")
torch.manual_seed(0)
net = timm.create_model("wrn_10_1", num_classes=10).train()
images, labels = torch.randn(6, 3, 16, 16), torch.arange(6)
keep = KeepCutout(5, quantile=0.3)
def boxes(model):
    return keep(model, images, labels, generator=torch.Generator().manual_seed(1)).boxes_B4
eager = boxes(net)
compiled = boxes(torch.compile(net, backend="aot_eager"))
ddp = torch.nn.parallel.DistributedDataParallel(net)
wrapped = boxes(ddp)
torch.nn.functional.cross_entropy(ddp(images), labels).backward()  # the reducer is not left waiting
everywhere = [torch.empty_like(wrapped) for _ in range(2)]
dist.all_gather(everywhere, wrapped)
same = all(torch.equal(eager, other) for other in (compiled, *everywhere))
print("SAME" if same else "DIFFERENT", flush=True)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_eager_compiled_and_two_ddp_ranks_choose_the_same_regions(tmp_path):
    script = tmp_path / "same_regions.py"
    script.write_text(SAME_REGIONS)
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", script]
    said = run(*command, OMP_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    assert said.count("SAME") == 2
    assert "DIFFERENT" not in said
