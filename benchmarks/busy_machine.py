#!/usr/bin/env python3
"""What one busy process costs a training command, by how idle OpenMP threads wait.

    python benchmarks/busy_machine.py --out RESULT.json

The command is ``pretrain.train --config demo_keepcutmix``, as many steps as --steps; its time is that of the steps
as the run records them, without starting Python. "long spin" is what torch does by itself on Linux, "short spin"
the default of every command here, "no spin" OMP_WAIT_POLICY=PASSIVE, "one thread" OMP_NUM_THREADS=1. All take
turns, alone and beside a process that keeps one core busy. Ratios are to "long spin", alone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from engine.run_folder import write_measurement  # noqa: E402

WAITING = {
    "long spin": {"GOMP_SPINCOUNT": "300000"},  # libgomp's own default
    "short spin": {},
    "no spin": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
FREE = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS")


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep some cores busy."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def seconds_of(steps: int, environment: dict[str, str]) -> float:
    """Run the command and return the time of its steps."""
    inherited = {name: value for name, value in os.environ.items() if name not in FREE}
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "pretrain.train", "--config", "demo_keepcutmix", "--device", "cpu"]
        words += ["--max_steps", str(steps), "--output", folder, "--overwrite"]
        subprocess.run(words, cwd=ROOT, env=inherited | environment, check=True, capture_output=True)
        row = json.loads((Path(folder) / "metrics.jsonl").read_text().splitlines()[-1])
    return float(row["seconds"])


def main() -> int:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--busy", type=int, default=1, help="number of busy processes")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    seconds: dict[tuple[str, str], list[float]] = {}
    for number in range(arguments.rounds):
        order = list(WAITING.items())
        for name, environment in order if number % 2 else order[::-1]:
            for beside, count in (("alone", 0), ("busy", arguments.busy)):
                with busy_processes(count):
                    seconds.setdefault((name, beside), []).append(seconds_of(arguments.steps, environment))
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    reference = medians["long spin", "alone"]
    rows = {
        name: {
            "alone_seconds": medians[name, "alone"],
            "busy_seconds": medians[name, "busy"],
            "alone_ratio": medians[name, "alone"] / reference,
            "busy_ratio": medians[name, "busy"] / reference,
        }
        for name in WAITING
    }
    for name, row in rows.items():
        print(f"{name:12} alone {row['alone_ratio']:5.2f}   beside a busy process {row['busy_ratio']:5.2f}")
    if arguments.out:
        result = {"what": str(__doc__).splitlines()[0], "steps": arguments.steps, "rounds": arguments.rounds}
        result |= {"busy": arguments.busy, "cores": os.cpu_count(), "rows": rows}
        write_measurement(result, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
