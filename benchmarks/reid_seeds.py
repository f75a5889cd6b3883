#!/usr/bin/env python3
"""Selective against plain Random Erasing on the demo re-ID set, several seeds, with intervals and a paired test.

    python benchmarks/reid_seeds.py --out RESULT.json [--seeds 0 1 2] [--jobs 2] [--runs FOLDER] [--options "..."]

Trains every arm with every seed through ``reid.train`` (a finished run is not trained again), evaluates the last
epoch on the set of the training and on another one (other people, other cameras), and compares: mean and standard
deviation over the seeds; paired bootstrap over identities of each query's values averaged over the seeds.
"""

import argparse
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
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def train(arm: str, seed: int, runs: Path, options: list[str]) -> Path:
    """Train one run, or finish it; a finished one stays as it is."""
    folder = runs / f"{arm}_seed{seed}"
    if not (folder / "features.npz").is_file():
        command = [sys.executable, "-m", "reid.train", *ARMS[arm], "--seed", str(seed), "--output", str(folder)]
        subprocess.run([*command, "--auto_resume", *options], cwd=ROOT, env=ENVIRONMENT, check=True)
    return folder


def embed(folder: Path, name: str, root: str) -> Path:
    """Write a run's features of a demo set, where they are missing; "" is the set of its training."""
    features = folder / name
    if not features.is_file():
        command = [sys.executable, "-m", "reid.evaluate", str(folder), "--save_features", str(features)]
        command += ["--root", root] if root else []
        subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True)
    return features


def summary(files: dict[tuple[str, int], Path], seeds: list[int]) -> dict:
    """Evaluate every run; mean and spread of each arm, paired tests between the arms."""
    from reid.config import Protocol
    from reid.evaluation.bootstrap import compare
    from reid.evaluation.features import load_features
    from reid.evaluation.report import as_dict, evaluate_features

    features = {pair: load_features(file) for pair, file in files.items()}
    reports = {pair: evaluate_features(each, Protocol()) for pair, each in features.items()}
    ids = next(iter(features.values())).labels.query_ids
    arms, tests = {}, {}
    for arm in ARMS:
        values = {name: [reports[arm, seed].numbers[name] for seed in seeds] for name in METRICS}
        arms[arm] = {name: [statistics.fmean(each), statistics.stdev(each)] for name, each in values.items()}
        print(arm, {name: f"{mean:.2f} ± {std:.2f}" for name, (mean, std) in arms[arm].items()}, flush=True)
    for one, other in (("selective", "plain"), ("plain", "none"), ("selective", "none")):
        both = [averaged([reports[arm, seed] for seed in seeds]) for arm in (one, other)]
        found = compare(*both, ids)
        tests[f"{one} - {other}"] = {name: found[name] for name in ("mAP", "mAP_trapezoid", "mINP")}
        print(f"{one} - {other}", tests[f"{one} - {other}"]["mAP"], flush=True)
    runs = {f"{arm}, seed {seed}": as_dict(report) for (arm, seed), report in reports.items()}
    return {"mean_std": arms, "paired": tests, "runs": runs}


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
    parser.add_argument("--across", type=int, default=1, help="seed of another demo set to evaluate on")
    parser.add_argument("--options", default="", help="more flags for reid.train")
    arguments = parser.parse_args()

    from engine.run_folder import write_measurement
    from imagesets.demo.make import ensure

    ensure()
    other = ensure(arguments.runs / f"demo_seed{arguments.across}", seed=arguments.across)
    pairs = [(arm, seed) for seed in arguments.seeds for arm in ARMS]
    options = shlex.split(arguments.options)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        folders = list(pool.map(lambda pair: train(*pair, arguments.runs, options), pairs))
        own = list(pool.map(lambda folder: embed(folder, "features.npz", ""), folders))
        across = list(
            pool.map(lambda folder: embed(folder, f"across_{arguments.across}.npz", str(other)), folders)
        )
    result = {"what": "demo re-ID set, last epoch", "options": arguments.options}
    print("the set of the training")
    result |= summary(dict(zip(pairs, own, strict=True)), arguments.seeds)
    print(f"across: other people, cameras and lights (demo set of seed {arguments.across})")
    result["across"] = summary(dict(zip(pairs, across, strict=True)), arguments.seeds)
    write_measurement(result, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
