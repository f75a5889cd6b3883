"""A run that is killed, or asked to stop, at any step goes on bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from engine import checkpoint

ROOT = Path(__file__).parents[2]
TIMING = ("images_per_second", "data_wait_share", "seconds")


def command(class_folders, output, *more):
    argv = ["-m", "pretrain.train", "--data.dataset", "folder", "--data.root", str(class_folders)]
    argv += ["--data.batch_size", "4", "--data.workers", "0", "--device", "cpu", "--model.name", "wrn_10_1"]
    argv += ["--model.options", '{"drop_rate": 0.2}', "--data.image_size", "16", "--epochs", "6"]
    argv += ["--augment.op", "cutmix", "--augment.scale", "0.5", "--ema_decay", "0.9", "--accumulate", "2"]
    argv += ["--save_every", "2", "--auto_resume", "--output", str(output), *more]
    return [sys.executable, *argv]


def start(*arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command(*arguments), cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def finish(*arguments):
    process = start(*arguments)
    _, error = process.communicate()
    assert process.returncode == 0, error
    return error


def rows(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in TIMING} for line in lines]


def interrupt(folder, process, how):
    """Send a signal at a random moment after the first save."""
    while not (folder / "last.pth").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(random.uniform(0.0, 0.6))
    process.send_signal(how)
    _, error = process.communicate()
    return error


def same_run(a, b):
    assert rows(a) == rows(b)
    ours, theirs = (checkpoint.load(folder / "last.pth") for folder in (a, b))
    for key in ("state_dict", "state_dict_ema"):
        assert all(torch.equal(ours[key][name], theirs[key][name]) for name in ours[key])
    assert ours["resume"]["position"] == theirs["resume"]["position"]


@pytest.fixture(scope="module")
def whole(class_folders, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    finish(class_folders, folder)
    return folder


@pytest.mark.slow
def test_killed_at_a_random_step(class_folders, tmp_path, whole):
    random.seed()
    killed = 0
    for _ in range(3):
        process = start(class_folders, tmp_path / "run")
        interrupt(tmp_path / "run", process, signal.SIGKILL)
        killed += process.returncode == -signal.SIGKILL
    assert killed
    finish(class_folders, tmp_path / "run")
    same_run(whole, tmp_path / "run")
    leftovers = [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")]
    assert (tmp_path / "run" / "last.pth").is_file(), leftovers


@pytest.mark.slow
def test_sigterm_saves_and_exits_with_zero(class_folders, tmp_path, whole):
    longer = (class_folders, tmp_path / "run", "--save_every", "0")
    process = start(*longer)
    while not (tmp_path / "run" / "metrics.jsonl").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate()
    if process.returncode == -signal.SIGTERM:  # it came before the loop had begun
        pytest.skip("too early on this machine")
    assert process.returncode == 0, error
    finish(*longer)
    same_run(whole, tmp_path / "run")


def test_a_stop_signal_is_noticed_and_the_old_handler_comes_back():
    from accelerate import Accelerator

    from engine.stop import StopSignal

    before = signal.getsignal(signal.SIGTERM)
    with StopSignal(Accelerator(cpu=True)) as stop:
        assert not stop.agreed(True)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.agreed(False)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_stopping_in_the_middle_of_an_epoch_keeps_its_averages(class_folders, tmp_path, whole, capsys):
    """Deterministic twin of the above: stop after 13 of 60 steps through --max_steps."""
    finish(class_folders, tmp_path / "run", "--max_steps", "14")
    saved = checkpoint.load(tmp_path / "run" / "last.pth")["resume"]["position"]
    assert (saved["epoch"], saved["batch"], saved["steps"]) == (1, 4, 14)
    finish(class_folders, tmp_path / "run")
    same_run(whole, tmp_path / "run")


def test_a_line_cut_short_is_left_out(tmp_path):
    from engine.run_folder import RunFolder

    (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 2, "lo')
    assert RunFolder(tmp_path).rows() == [{"epoch": 1}]
