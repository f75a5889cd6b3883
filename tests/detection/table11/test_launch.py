"""A signal to detection.run reaches train_net.py and its workers, and nothing outlives it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from detection.table11.launch import locked, run_to_end
from engine.errors import UserError
from tests.detection.conftest import ROOT

TRAINING = """
import os, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(os.getpid(), worker.pid, flush=True)
time.sleep(60)
"""
PARENT = f"""
import os, sys
from detection.table11.launch import run_to_end
sys.exit(run_to_end([sys.executable, "-c", {TRAINING!r}], os.environ))
"""


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_all_processes_before_the_parent_ends(number):
    words = [sys.executable, "-c", PARENT]
    parent = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.send_signal(number)
    assert parent.wait(timeout=30) in (128 + number, 1)
    assert not any(is_alive(pid) for pid in pids)


def test_one_run_at_a_time_in_a_folder(tmp_path):
    """The lock is held as long as a process lives that inherited it, although its parent is gone."""
    with locked(tmp_path / "out") as lock:
        with pytest.raises(UserError, match="is in use by another run"), locked(tmp_path / "out"):
            pass
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
    with pytest.raises(UserError, match="is in use by another run"), locked(tmp_path / "out"):
        pass
    child.communicate(b"\n")
    with locked(tmp_path / "out"), locked(tmp_path / "out", rank=1):  # the machines of one run share the folder
        pass


def test_exit_codes_and_handlers():
    before = signal.getsignal(signal.SIGTERM)
    assert run_to_end([sys.executable, "-c", "raise SystemExit(3)"], os.environ) == 3
    start = time.monotonic()
    assert run_to_end([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], os.environ) == 137
    assert time.monotonic() - start < 30
    assert signal.getsignal(signal.SIGTERM) is before
