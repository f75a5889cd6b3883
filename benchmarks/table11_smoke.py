#!/usr/bin/env python3
"""Run the six rows of Table 11 for two iterations and an evaluation, from the backbone to the table.

    python benchmarks/table11_smoke.py DATA --out RESULT.json [--r50 CHECKPOINT --r101 CHECKPOINT]

DATA is a DETECTRON2_DATASETS folder. Without checkpoints the backbones are random. It is ``python -m detection.run
--quick``: inputs and proposals are reduced for a CPU; configs, scripts and evaluation are the real ones. AP means
nothing after two steps.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)


def random_backbone(name: str, folder: Path) -> Path:
    """Save an untrained timm network, as timm's training would."""
    import timm
    import torch

    torch.manual_seed(0)
    path = folder / f"{name}.pth"
    torch.save({"arch": name, "state_dict": timm.create_model(name).state_dict()}, path)
    return path


def run_row(name: str, backbone: Path, data: Path, out: Path) -> dict:
    """Run the chain on one row; report exit code, seconds and what came out."""
    from detection.table11.outputs import read_metrics

    command = [sys.executable, "-m", "detection.run", "--backbone", str(backbone), "--row", name, "--quick"]
    start = time.time()
    done = subprocess.run(
        [*command, "--data", str(data), "--output", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    rows = read_metrics(out) if (out / "metrics.json").is_file() else []
    last = next((row for row in reversed(rows) if "bbox/AP" in row), {})
    return {
        "exit_code": done.returncode,
        "seconds": round(time.time() - start, 1),
        "verified": "verified" in done.stdout,
        "checked": "every backbone tensor is filled" in done.stdout,
        "AP": last.get("bbox/AP"),
        "total_loss": next((row["total_loss"] for row in reversed(rows) if "total_loss" in row), None),
    }


def main() -> int:
    """Run all rows; exit code 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--r50", type=Path)
    parser.add_argument("--r101", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    from detection.table11.rows import ROWS
    from engine.run_folder import write_measurement

    with tempfile.TemporaryDirectory() as folder:
        given = {50: arguments.r50, 101: arguments.r101}
        made = {depth: path or random_backbone(f"resnet{depth}", Path(folder)) for depth, path in given.items()}
        rows = {}
        for name, row in ROWS.items():
            out = Path(folder) / name
            rows[name] = run_row(name, made[row.depth].resolve(), arguments.data.resolve(), out)
            print(name, rows[name], flush=True)
    result = {"what": "detection.run --quick on the rows of Table 11", "rows": rows}
    write_measurement(result, arguments.out)
    return int(any(row["exit_code"] or row["AP"] is None for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
