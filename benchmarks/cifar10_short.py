#!/usr/bin/env python3
"""Train the CIFAR-10 ResNet-18 recipes, narrow and short, on a CPU: does the loss fall, do both arms run?

    python benchmarks/cifar10_short.py CIFAR10 RUNS --out RESULT.json

One epoch (390 steps) at width 32, one seed: a check that the real recipes train, no comparison of the arms. A run
that is already in RUNS is not run again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)
ARMS = ("cutout", "keepcutout_early_lowres")
OPTIONS = ["--epochs", "1", "--model.options", '{"width": 32}', "--data.workers", "1"]


def main() -> int:
    """Run what is missing and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    arms = {}
    for arm in ARMS:
        run = arguments.runs / f"cif_{arm}"
        if not (run / "last.pth").is_file():
            command = [sys.executable, "-m", "pretrain.train", "--config", f"cifar10_resnet18_{arm}", *OPTIONS]
            command += ["--data.root", str(arguments.data.resolve()), "--output", str(run.resolve())]
            subprocess.run(command, cwd=ROOT, check=True)
        arms[arm] = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        made = json.loads((run / "run.json").read_text())
    made.pop("command")
    result = {"what": str(__doc__).splitlines()[0], "options": OPTIONS, "arms": arms, **made}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    for arm, rows in arms.items():
        print(arm, {k: rows[-1][k] for k in ("step", "loss", "top1")})
    return 0


if __name__ == "__main__":
    sys.exit(main())
