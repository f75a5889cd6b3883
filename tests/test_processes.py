"""What several processes compute together is what one would compute."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
TRIPLET = """
import torch, torch.distributed as dist
from torch import nn
from reid.losses import batch_hard_triplet, gather_batch
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
net = nn.Linear(6, 4)
images, labels = torch.randn(16, 6), torch.arange(4).repeat_interleave(4)
whole = batch_hard_triplet(net(images), labels)
want = torch.autograd.grad(whole, net.weight)[0]
ddp = nn.parallel.DistributedDataParallel(net)
mine = slice(rank * 16 // world, (rank + 1) * 16 // world)
loss = batch_hard_triplet(*gather_batch(ddp(images[mine]), labels[mine]))
loss.backward()
same = torch.allclose(loss, whole, atol=1e-6) and torch.allclose(net.weight.grad, want, atol=1e-6)
print("SAME" if same else f"DIFFERENT {loss} {whole} {net.weight.grad - want}", flush=True)
dist.destroy_process_group()
"""
BUFFERS = """
import torch
from torch import nn
from engine.config import TrainingConfig
from engine.setup import build_accelerator, build_engine
config = TrainingConfig(device="cpu", ema_decay=0.5)
accelerator = build_accelerator(config)
torch.manual_seed(0)
engine = build_engine(config, accelerator, nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), 1)
rank = accelerator.process_index
engine.update(engine.model(torch.full((5, 3), 1.0 + rank) + torch.rand(5, 3)).square().sum(), 0, 1)
saved = [module[1].running_mean.clone() for module in (engine.bare, engine.ema.module)]
engine.share_buffers()
for first, module in zip(saved, (engine.bare, engine.ema.module)):
    torch.distributed.broadcast(first, 0)
    print("SAME" if torch.equal(first, module[1].running_mean) else "DIFFERENT", flush=True)
    everywhere = [torch.empty_like(first) for _ in range(2)]
    torch.distributed.all_gather(everywhere, module[1].running_mean)
    assert torch.equal(*everywhere)
torch.distributed.destroy_process_group()
"""

MAPS = """
import torch, torch.distributed as dist
from keepcore import MapCache
dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
index, maps = torch.tensor([5, 0, 3, 7, 2, 6]), torch.rand(6, 8, 8) + 0.1
windows, due = torch.tensor([[0.8, 0.1, -0.9, 0.9]]).expand(6, -1), torch.tensor([4, 5])
alone, shared = MapCache(8, 4), MapCache(8, 4)
alone.update(index, windows, due, maps[due])
mine = slice(3 * rank, 3 * rank + 3)
own = due - 3 if rank else due[:0]  # the first process has nothing new, and takes part all the same
shared.update(index[mine], windows[mine], own, maps[mine][own], processes=2)
same = torch.equal(alone.maps_NSS, shared.maps_NSS) and shared.maps_NSS.any()
print("SAME" if same else "DIFFERENT", flush=True)
dist.destroy_process_group()
"""


def two_processes(script, tmp_path, processes=2):
    (tmp_path / "script.py").write_text(script)
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *words, str(tmp_path / "script.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_triplets_are_mined_in_the_whole_batch(processes, tmp_path):
    """Loss and weight gradients: in parts of the batch there would be easier triplets, in the smallest none."""
    assert two_processes(TRIPLET, tmp_path, processes).count("SAME") == processes


@pytest.mark.slow
def test_every_process_evaluates_the_batchnorm_statistics_that_are_saved(tmp_path):
    assert two_processes(BUFFERS, tmp_path).count("SAME") == 4


@pytest.mark.slow
def test_processes_share_the_saliency_maps_they_keep(tmp_path):
    assert two_processes(MAPS, tmp_path).count("SAME") == 2


@pytest.mark.slow
def test_a_run_with_kept_maps_in_two_processes(class_folders, tmp_path):
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "pretrain.train"]
    words += ["--data.dataset", "folder", "--data.root", str(class_folders), "--data.batch_size", "8"]
    words += ["--data.image_size", "16", "--data.workers", "0", "--device", "cpu", "--model.name", "wrn_10_1"]
    words += ["--augment.op", "cutout", "--augment.length", "4", "--augment.saliency", "feature_gradient"]
    words += ["--guide.refresh", "2", "--epochs", "2", "--output", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    maps = torch.load(tmp_path / "run" / "last.pth", weights_only=True)["resume"]["tensors"]["saliency_maps"]
    assert maps.flatten(1).any(1).float().mean() > 0.9  # those of both processes
