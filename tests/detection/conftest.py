"""Backbones for all tests of the detectors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch

ROOT = Path(__file__).parents[2]


def lively(name, **options):
    """A network whose BatchNorm statistics are not the trivial ones."""
    torch.manual_seed(1)
    model = timm.create_model(name, **options)
    for key, value in model.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif key.endswith("running_mean"):
            value.normal_(0, 0.2)
        elif "bn" in key and key.endswith("weight"):
            value.uniform_(0.5, 1.5)  # timm starts the last one of a block at zero: its branch would not show
    return model


def command(*argv, env=None, code=0):
    """Run a real command line with one thread; return what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
    words = [sys.executable, *map(str, argv)]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """Checkpoints of R18, R50 and R101 as pretrain writes them."""
    made = {}
    for depth in (18, 50, 101):
        name = f"resnet{depth}"
        made[depth] = tmp_path_factory.mktemp("sources") / f"{name}.pth"
        torch.save({"arch": name, "state_dict": lively(name).state_dict(), "augment": "KeepCutMix"}, made[depth])
    return made


@pytest.fixture(scope="session")
def backbones(sources, tmp_path_factory):
    """The same, converted."""
    from detection.checkpoints.convert_file import Conversion, convert_file

    made = {depth: tmp_path_factory.mktemp("weights") / path.name for depth, path in sources.items()}
    for depth, path in made.items():
        assert convert_file(Conversion(sources[depth], path)) == 0
    return made
