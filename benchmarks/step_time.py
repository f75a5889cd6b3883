#!/usr/bin/env python3
"""Time of a training step with KeepCutout relative to plain Cutout, all variants taking turns in one run.

    python benchmarks/step_time.py --network cifar_resnet18 --batch 64 --size 32 --out RESULT.json

The paper's own ratios (Table 6) are of one TITAN X. The floor counts floating-point operations only
(full 1.67, low resolution 1.17, early head 1.18 on ResNet-18, both 1.05).
"""

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from engine.run_folder import write_measurement  # noqa: E402
from imagesets.classification import CIFAR_MEAN, CIFAR_STD  # noqa: E402
from imagesets.normalize import Normalize  # noqa: E402
from keepcore import KeepConfig  # noqa: E402
from keepcore.draws import BatchShard  # noqa: E402
from networks.create import create_network  # noqa: E402
from pretrain.config import Config, Data, Guide, Model  # noqa: E402
from pretrain.crop_windows import CpuIndices  # noqa: E402
from pretrain.guide import keep_maps  # noqa: E402
from pretrain.model import build_model  # noqa: E402
from pretrain.step import build_step  # noqa: E402

VARIANTS = {
    "cutout": {"selective": False},
    "keep": {},
    "keep, low resolution": {"scale": 0.5},
    "keep, early head": {"head": "early"},
    "keep, early head, low resolution": {"head": "early", "scale": 0.5},
    "keep, feature gradient": {"saliency": "feature_gradient"},
    "keep, feature gradient, low resolution": {"saliency": "feature_gradient", "scale": 0.5},
    "keep, feature gradient, low resolution, area-matched": {
        "saliency": "feature_gradient",
        "scale": 0.5,
        "match": "area",
    },
    "keep, kept feature gradient, low resolution": {
        "saliency": "feature_gradient",
        "scale": 0.5,
        "guide": Guide(refresh=10),
    },
    "keep, feature gradient of a small network, low resolution": {
        "saliency": "feature_gradient",
        "scale": 0.5,
        "guide": Guide(model="small"),
    },
}
SMALL = {"cifar_resnet18": {"width": 16}}  # otherwise resnet10t


def variant(arguments: argparse.Namespace, changes: dict, device: torch.device):
    """Make one variant's step: a function that trains on one batch."""
    length = max(1, arguments.size // 2)
    changes = dict(changes)
    guide = changes.pop("guide", Guide())
    config = Config(
        compile=arguments.compile,
        data=Data(image_size=arguments.size),
        model=Model(name=arguments.network),
        augment=replace(KeepConfig(op="cutout", length=length), **changes),
        guide=guide,
    )
    model = build_model(config, 10).to(device).train()
    if arguments.channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    generators = (torch.Generator().manual_seed(0), torch.Generator().manual_seed(0))
    normalize = Normalize(CIFAR_MEAN, CIFAR_STD)
    small = None
    if guide.model == "small":
        name = arguments.network if arguments.network in SMALL else "resnet10t"
        small = create_network(name, 10, SMALL.get(name, {})).to(device)
        if arguments.channels_last:
            small = small.to(memory_format=torch.channels_last)
    trained = torch.compile(model) if arguments.compile else model
    kept = keep_maps(config, range(50_000), device)
    step = build_step(config, trained, normalize, 10, generators, float, BatchShard(), guide=small, kept_maps=kept)
    images = torch.randint(
        256, (arguments.batch, 3, arguments.size, arguments.size), dtype=torch.uint8, device=device
    )
    labels = torch.randint(10, (arguments.batch,), device=device)
    window = torch.tensor([[1.0, 0.0, 1.0, 0.0]], device=device).expand(arguments.batch, -1)
    extras = {
        "index": CpuIndices(list(range(arguments.batch))),
        "window": window,
        "epoch": 1,
    }  # a tenth of them is due

    def run() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=arguments.bf16):
            loss = step(((images,), labels, extras)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def timed(run, steps: int, device: torch.device) -> float:
    """Seconds of some steps in a row, as in training: nothing waits for the device in between."""
    start = time.perf_counter()
    for _ in range(steps):
        run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="cifar_resnet18")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=1, help="steps in a row before waiting for the device")
    parser.add_argument("--bf16", action="store_true", help="train under bfloat16 autocast")
    parser.add_argument("--channels_last", action="store_true")
    parser.add_argument("--compile", action="store_true", help="compile the network and the saliency pass")
    parser.add_argument("--only", nargs="+", default=[], help="variants to measure besides cutout")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chosen = {k: v for k, v in VARIANTS.items() if not arguments.only or k in ("cutout", *arguments.only)}
    runs = {name: variant(arguments, changes, device) for name, changes in chosen.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(arguments.rounds + 2):
        for name, run in runs.items():
            took = timed(run, arguments.steps, device)
            if number >= 2:
                seconds[name].append(took / arguments.steps)
    plain = statistics.median(seconds["cutout"])
    ratios = {name: statistics.median(values) / plain for name, values in seconds.items()}
    for name, ratio in ratios.items():
        print(f"{name:54} {ratio:.3f}")
    if arguments.out:
        asked = {k: v for k, v in vars(arguments).items() if k != "out"}
        result = {"what": str(__doc__).splitlines()[0], **asked, "plain_seconds": plain, "ratios": ratios}
        write_measurement(result, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
