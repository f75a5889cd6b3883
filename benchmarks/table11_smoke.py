#!/usr/bin/env python3
"""Run the six rows of Table 11 for two iterations and an evaluation under Detectron2's own train_net.py.

    python benchmarks/table11_smoke.py DATA --r50 R50.pth --r101 R101.pth --out RESULT.json

DATA is a DETECTRON2_DATASETS folder. The weights come from tools/convert_to_d2.py. Inputs and proposals are
reduced for a CPU; the configs, the script and the evaluation are the real ones. AP means nothing after two steps.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

QUICK = """
MODEL.DEVICE cpu SOLVER.IMS_PER_BATCH 2 SOLVER.BASE_LR 0.0005 SOLVER.MAX_ITER 2 SOLVER.STEPS ()
SOLVER.WARMUP_ITERS 1 INPUT.MIN_SIZE_TRAIN (128,) INPUT.MAX_SIZE_TRAIN 200 INPUT.MIN_SIZE_TEST 128
INPUT.MAX_SIZE_TEST 200 DATALOADER.NUM_WORKERS 0 MODEL.RPN.PRE_NMS_TOPK_TRAIN 200
MODEL.RPN.POST_NMS_TOPK_TRAIN 50 MODEL.RPN.PRE_NMS_TOPK_TEST 100 MODEL.RPN.POST_NMS_TOPK_TEST 20
MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE 16 MODEL.ROI_HEADS.SCORE_THRESH_TEST 0.0
MODEL.RETINANET.SCORE_THRESH_TEST 0.0
"""


def run_row(config: Path, weights: Path, data: Path) -> dict:
    """Train two iterations, evaluate, report exit code and the last row of metrics.json."""
    from detection.launch import train_net

    with tempfile.TemporaryDirectory() as out:
        options = [*QUICK.split(), "MODEL.WEIGHTS", str(weights), "OUTPUT_DIR", out]
        command = [sys.executable, str(train_net()), "--num-gpus", "0", "--config-file", str(config), *options]
        start = time.time()
        env = {**os.environ, "DETECTRON2_DATASETS": str(data)}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        path = Path(out) / "metrics.json"
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
        matched = sum(
            "weights matched with submodule" in line.lower() for line in (done.stdout + done.stderr).split("\n")
        )
    last = next((row for row in reversed(rows) if "bbox/AP" in row), {})
    return {
        "exit_code": done.returncode,
        "seconds": round(time.time() - start, 1),
        "evaluated": "bbox/AP" in last,
        "AP": last.get("bbox/AP"),
        "total_loss": next((row["total_loss"] for row in reversed(rows) if "total_loss" in row), None),
        "weights_matched_lines": matched,
    }


def main() -> int:
    """Run all rows; exit code 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--r50", type=Path, required=True)
    parser.add_argument("--r101", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    from keepcore.run.folder import provenance

    rows = {}
    for config in sorted((ROOT / "detection" / "configs").glob("*_3x.yaml")):
        weights = arguments.r101 if "R_101" in config.stem else arguments.r50
        rows[config.stem] = run_row(config, weights.resolve(), arguments.data.resolve())
        print(config.stem, rows[config.stem], flush=True)
    made = provenance()
    made.pop("command")  # it holds paths of this machine
    result = {"what": "Table 11 configs, 2 iterations + evaluation, quick overrides", "rows": rows, **made}
    arguments.out.write_text(json.dumps(result, indent=1) + "\n")
    return int(any(row["exit_code"] or not row["evaluated"] for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
