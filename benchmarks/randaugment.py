#!/usr/bin/env python3
"""Images a second of our batched RandAugment and of torchvision's, image by image, on the same cores.

    python benchmarks/randaugment.py [--batch 448] [--side 32] [--device cuda] [--out RESULT.json]

On the CPU both run in one process of one thread per core; torchvision gets Pillow images and uint8 tensors,
whichever is faster counts. On a GPU it gets uint8 tensors that are there already. Medians of interleaved rounds;
ratios are within one round.
"""

import argparse
import json
import os
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

KINDS = ("ours", "pillow", "tensors")
ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)


def images(batch: int, side: int):
    """Make smooth random uint8 images."""
    import torch

    small = torch.rand(batch, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    return (torch.nn.functional.interpolate(small, size=(side, side), mode="bicubic") * 255).clamp(0, 255).byte()


def alone(batch: int, side: int, kind: str, repeats: int) -> float:
    """Seconds a batch in this process on one thread: ours, or torchvision's transform image by image."""
    import torch
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    if kind == "ours":
        return batch / ours(batch, side, "cpu", repeats)
    policy, given = v2.RandAugment(2, 9, fill=[125, 123, 114]), list(images(batch, side))
    if kind == "pillow":
        given = [v2.functional.to_pil_image(image) for image in given]
    finish = v2.PILToTensor() if kind == "pillow" else (lambda image: image)
    start = time.perf_counter()
    for _ in range(repeats):
        torch.stack([finish(policy(image)) for image in given])
    return (time.perf_counter() - start) / repeats


def on_cpu(batch: int, side: int, kind: str, pool, cores: int, repeats: int) -> float:
    """Images a second of all processes together."""
    jobs = [pool.submit(alone, batch, side, kind, repeats) for _ in range(cores)]
    return sum(batch / job.result() for job in jobs)


def theirs_on_gpu(batch: int, side: int, device: str, repeats: int) -> float:
    """Images a second, tensors on the device."""
    import torch
    from torchvision.transforms import v2

    policy, given = v2.RandAugment(2, 9, fill=[125, 123, 114]), list(images(batch, side).to(device))
    return batch / seconds(lambda: torch.stack([policy(image) for image in given]), device, repeats)


def ours(batch: int, side: int, device: str, repeats: int) -> float:
    """Images a second, the draws included."""
    import torch

    from keepcore.policy import RandAugment

    policy, given, generator = RandAugment(2, 9), images(batch, side).to(device), torch.Generator().manual_seed(0)
    return batch / seconds(lambda: policy(given, generator=generator), device, repeats)


def seconds(run, device: str, repeats: int) -> float:
    """Seconds a call, the device's queue empty before and after."""
    import torch

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    run()
    wait()
    start = time.perf_counter()
    for _ in range(repeats):
        run()
    wait()
    return (time.perf_counter() - start) / repeats


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=448)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()

    from engine.run_folder import write_measurement

    cores, found = len(os.sched_getaffinity(0)), []
    with ProcessPoolExecutor(cores, get_context("spawn")) as pool:
        for _ in range(given.rounds):
            sizes = (given.batch, given.side)
            if given.device == "cuda":
                row = {"ours": ours(*sizes, "cuda", given.repeats)}
                row["torchvision, tensors"] = theirs_on_gpu(*sizes, given.device, 1)
            else:
                row = {kind: on_cpu(*sizes, kind, pool, cores, given.repeats) for kind in KINDS}
            best = max(value for name, value in row.items() if name != "ours")
            found.append(row | {"ratio": row["ours"] / best})
    result = {name: round(statistics.median(row[name] for row in found), 1) for name in found[0]}
    result |= {"batch": given.batch, "side": given.side, "device": given.device, "cores": cores}
    print(json.dumps(result))
    if given.out:
        write_measurement(result | {"rounds": found}, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
