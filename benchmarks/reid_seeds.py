#!/usr/bin/env python3
"""Selective against plain Random Erasing on the demo re-ID set, several seeds, with intervals and a paired test.

    python benchmarks/reid_seeds.py --out RESULT.json [--seeds 0 1 2] [--jobs 2] [--runs FOLDER] [--options "..."]

Trains every arm with every seed through ``reid.train`` (a finished run is not trained again), evaluates the last
epoch, and compares: mean and standard deviation over the seeds; paired bootstrap over identities of each query's
values averaged over the seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)
ARMS = {
    "none": ["--config", "demo_plain", "--augment.op", "none"],
    "plain": ["--config", "demo_plain"],
    "selective": ["--config", "demo_selective"],
}
METRICS = ("mAP", "mAP_trapezoid", "mINP", "rank1")


def train_and_embed(arm: str, seed: int, runs: Path, options: list[str]) -> Path:
    """Train one run and write its features; both only where they are missing."""
    folder = runs / f"{arm}_seed{seed}"
    features = folder / "features.npz"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if not features.is_file():
        train = [sys.executable, "-m", "reid.train", *ARMS[arm], "--seed", str(seed), "--output", str(folder)]
        subprocess.run([*train, "--auto_resume", *options], cwd=ROOT, env=environment, check=True)
        evaluate = [sys.executable, "-m", "reid.evaluate", str(folder), "--save_features", str(features)]
        subprocess.run(evaluate, cwd=ROOT, env=environment, check=True, capture_output=True)
    return features


def averaged(reports: list) -> object:
    """Average each query's values over the seeds."""
    import numpy as np

    found = [report.found for report in reports]
    return type(found[0])(
        found[0].query_V, *(np.mean([f[i] for f in found], 0) for i in (1, 2, 3)), found[0].first_V
    )


def main() -> int:
    """Run everything and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "reid_seeds")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--options", default="", help="more flags for reid.train")
    arguments = parser.parse_args()

    from keepcore.run.demo import ensure
    from keepcore.run.folder import provenance
    from reid.confidence import compare
    from reid.config import Protocol
    from reid.features import load_features
    from reid.report import as_dict, evaluate_features

    ensure()
    pairs = [(arm, seed) for seed in arguments.seeds for arm in ARMS]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        options = shlex.split(arguments.options)
        files = list(pool.map(lambda pair: train_and_embed(*pair, arguments.runs, options), pairs))
    features = {pair: load_features(file) for pair, file in zip(pairs, files, strict=True)}
    reports = {pair: evaluate_features(each, Protocol()) for pair, each in features.items()}
    ids = next(iter(features.values())).labels.query_ids
    arms = {}
    for arm in ARMS:
        own = [reports[arm, seed].numbers for seed in arguments.seeds]
        arms[arm] = {
            name: [statistics.fmean(values), statistics.stdev(values)]
            for name in METRICS
            if (values := [numbers[name] for numbers in own])
        }
        print(arm, {name: f"{mean:.2f} ± {std:.2f}" for name, (mean, std) in arms[arm].items()}, flush=True)
    tests = {}
    for one, other in (("selective", "plain"), ("plain", "none"), ("selective", "none")):
        both = [averaged([reports[arm, seed] for seed in arguments.seeds]) for arm in (one, other)]
        found = compare(*both, ids)
        tests[f"{one} - {other}"] = {name: found[name] for name in ("mAP", "mAP_trapezoid", "mINP")}
        print(f"{one} - {other}", tests[f"{one} - {other}"]["mAP"], flush=True)
    about = {key: value for key, value in provenance().items() if key != "command"}
    singles = {f"{arm}, seed {seed}": as_dict(report) for (arm, seed), report in reports.items()}
    result = {
        "what": "demo re-ID set, last epoch",
        "options": arguments.options,
        "mean_std": arms,
        "paired": tests,
    }
    arguments.out.write_text(json.dumps({**result, "runs": singles, **about}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
