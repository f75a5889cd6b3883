#!/usr/bin/env python3
"""CPU seconds and memory of re-ID evaluation and re-ranking, ours and others', on one set of synthetic features.

    python benchmarks/reid_eval.py --out RESULT.json [--scale msmt17] [--torchreid CLONE] [--fastreid CLONE]

Features have the sizes and the kind of labels of Market-1501 (3,368 x 15,913 x 2048, 750 identities, distractors)
or MSMT17 (11,659 x 82,161). Every part runs in a process of its own. A clone's functions are imported from its
files; they get the distance matrix, whose seconds are counted for them as for us.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)
SCALES = {"small": (400, 2000, 100, 300), "market": (3368, 15913, 750, 2798), "msmt17": (11659, 82161, 3060, 0)}


def synthetic(scale: str, path: Path) -> None:
    """Write features in which identities are clusters, some tighter than others."""
    import numpy as np
    import torch

    queries, gallery, people, distractors = SCALES[scale]
    rng, g = np.random.default_rng(0), torch.Generator().manual_seed(0)
    centres = torch.randn(people, 2048, generator=g)

    def draw(ids):
        known = torch.from_numpy(ids.clip(0))
        base = torch.where(
            torch.from_numpy(ids >= 0)[:, None], centres[known], torch.randn(len(ids), 2048, generator=g)
        )
        spread = 0.5 + 6.0 * torch.rand(len(ids), 1, generator=g)
        return torch.nn.functional.normalize(base + spread * torch.randn(len(ids), 2048, generator=g)).numpy()

    query_ids = np.arange(queries) % people
    gallery_ids = np.concatenate([rng.integers(0, people, gallery - distractors), np.full(distractors, -1)])
    np.savez(
        path,
        query_features=draw(query_ids),
        gallery_features=draw(gallery_ids),
        query_ids=query_ids + 1,
        gallery_ids=np.where(gallery_ids < 0, 0, gallery_ids + 1),
        query_cams=rng.integers(1, 7, queries),
        gallery_cams=rng.integers(1, 7, gallery),
    )


def ours(path: Path, protocol: dict) -> dict:
    """Evaluate with reid."""
    from reid.config import Protocol
    from reid.evaluation.features import load_features
    from reid.evaluation.report import evaluate_features

    features, start = load_features(path), cpu()
    report = evaluate_features(features, Protocol(**protocol))
    return {"cpu_seconds": cpu() - start, "mAP": report.numbers["mAP"], "rank1": report.numbers["rank1"]}


def product(path: Path, *, tiled: bool) -> dict:
    """Compute the distances alone."""
    from reid.evaluation.features import load_features
    from reid.evaluation.rank import products

    features, start = load_features(path), cpu()
    for some_CD in features.query_QD.split(256):
        if tiled:
            products(some_CD, features.gallery_GD)
        else:
            some_CD @ features.gallery_GD.T
    return {"cpu_seconds": cpu() - start}


def cpu() -> float:
    """CPU seconds of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def load_module(path: Path):
    """Import one file of a clone."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def theirs(path: Path, clone: Path, kind: str) -> dict:
    """Evaluate with a clone's Python function, or re-rank with torchreid's."""
    from reid.evaluation.features import load_features

    features = load_features(path)
    q, g, labels = features.query_QD, features.gallery_GD, features.labels
    order = (labels.query_ids, labels.gallery_ids, labels.query_cams, labels.gallery_cams)
    start = cpu()
    distance = (2 - 2 * q @ g.T).numpy()
    if kind == "rerank":
        function = load_module(clone / "torchreid" / "utils" / "rerank.py").re_ranking
        distance, own, other = ((2 - 2 * a @ b.T).clamp_min(0).sqrt().numpy() for a, b in ((q, g), (q, q), (g, g)))
        distance = function(distance, own, other)
        from reid.evaluation.metrics import metrics
        from reid.evaluation.rank import matrix_blocks, rank_positives

        found = metrics(rank_positives(matrix_blocks(distance, labels)))
        return {"cpu_seconds": cpu() - start, "mAP": found["mAP"], "rank1": found["rank1"]}
    if kind == "torchreid":
        rank = load_module(clone / "torchreid" / "metrics" / "rank.py")
        cmc, mean_ap = rank.eval_market1501(distance, *order, 50)
    else:
        rank = load_module(clone / "fastreid" / "evaluation" / "rank.py")
        cmc, aps, _ = rank.eval_market1501(distance, *order, 50)
        mean_ap = float(sum(aps) / len(aps))
    return {"cpu_seconds": cpu() - start, "mAP": 100 * float(mean_ap), "rank1": 100 * float(cmc[0])}


PARTS = {
    "distances alone, at once": lambda path, clones: product(path, tiled=False),
    "distances alone, in tiles": lambda path, clones: product(path, tiled=True),
    "evaluate": lambda path, clones: ours(path, {"thresholds": False, "resamples": 0}),
    "evaluate, thresholds, intervals": lambda path, clones: ours(path, {}),
    "re-rank": lambda path, clones: ours(path, {"rerank": True, "resamples": 0}),
    "torchreid, Python": lambda path, clones: theirs(path, clones["torchreid"], "torchreid"),
    "fast-reid, Python": lambda path, clones: theirs(path, clones["fastreid"], "fastreid"),
    "torchreid, re-rank": lambda path, clones: theirs(path, clones["torchreid"], "rerank"),
}


def main() -> int:
    """Run all parts that can run; print ratios to ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=SCALES, default="market")
    parser.add_argument("--torchreid", type=Path)
    parser.add_argument("--fastreid", type=Path)
    parser.add_argument("--repeats", type=int, default=3, help="runs of our parts; the median is reported")
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="only these")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--features", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    clones = {"torchreid": arguments.torchreid, "fastreid": arguments.fastreid}
    if arguments.part:
        start = time.perf_counter()
        found = PARTS[arguments.part](arguments.features, clones)
        found["wall_seconds"] = time.perf_counter() - start
        found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps(found))
        return 0
    from engine.run_folder import write_measurement

    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        features = Path(folder) / "features.npz"
        synthetic(arguments.scale, features)
        given = [w for name, path in clones.items() if path for w in (f"--{name}", str(path))]
        needs = {part: name for part in PARTS for name in clones if part.replace("-", "").startswith(name)}
        for part in arguments.parts or PARTS:
            if part in needs and clones[needs[part]] is None:
                continue
            times = 1 if "reid," in part else arguments.repeats
            command = [sys.executable, __file__, "--part", part, "--features", str(features), *given]
            runs = [
                json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                for _ in range(times)
            ]
            rows[part] = sorted(runs, key=lambda run: run["cpu_seconds"])[len(runs) // 2]
            base = rows.get("re-rank" if "re-rank" in part else "evaluate")
            rows[part] |= {"ratio_to_ours": rows[part]["cpu_seconds"] / base["cpu_seconds"]} if base else {}
            print(part, {k: round(v, 3) for k, v in rows[part].items()}, flush=True)
    if arguments.out:
        result = {"scale": arguments.scale, "sizes": SCALES[arguments.scale], "parts": rows}
        write_measurement(result, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
