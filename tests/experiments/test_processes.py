"""Missing runs as processes: how many at a time, what fails, and that a signal reaches all of them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.errors import UserError
from experiments.processes import parse_seeds, run_all

ROOT = Path(__file__).parents[2]


def test_seeds():
    assert parse_seeds("", 3) == [0, 1, 2]
    assert parse_seeds("0-2,5", 1) == [0, 1, 2, 5]
    for text in ("x", "1-", "3-1"):
        with pytest.raises(UserError, match="seeds must look like"):
            parse_seeds(text, 1)


def test_codes(tmp_path, capfd):
    def code(number):
        return [sys.executable, "-c", f"raise SystemExit({number})"]

    assert not run_all({tmp_path / "a": code(0), tmp_path / "b": code(0)}, 2)
    assert run_all({tmp_path / "a": code(0), tmp_path / "b": code(3)}, 1)
    assert f"failed with exit code 3: {tmp_path / 'b'}" in capfd.readouterr().err


CHILD = """
import os, signal, sys, time
def end(number, frame):
    open(sys.argv[1] + ".ended", "w").close()
    sys.exit(9)
signal.signal(signal.SIGTERM, end)
open(sys.argv[1] + ".started", "w").close()
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="POSIX signals")
def test_a_signal_ends_what_runs_and_starts_nothing_more(tmp_path):
    commands = {str(tmp_path / name): [sys.executable, "-c", CHILD, str(tmp_path / name)] for name in "abc"}
    program = "import sys; from pathlib import Path; from experiments.processes import run_all; "
    program += f"sys.exit(run_all({{Path(k): v for k, v in {commands!r}.items()}}, 2))"
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env=os.environ, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while sum((tmp_path / f"{name}.started").exists() for name in "abc") < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(timeout=30) == 1
    assert all((tmp_path / f"{name}.ended").exists() for name in "ab")
    assert not (tmp_path / "c.started").exists()
