#!/usr/bin/env python3
"""What Keep costs in a UDA step: seconds of a step with KeepRandAugment over those of one with RandAugment.

    python benchmarks/uda_step.py [--network wrn_28_2] [--labelled 8] [--unlabelled 56] [--out RESULT.json]

Forward, backward and update on random images held on the device; ratios of medians over interleaved rounds.
"""

import argparse
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import torch  # noqa: E402

from engine.run_folder import write_measurement  # noqa: E402
from imagesets.normalize import Normalize  # noqa: E402
from keepcore.config import KeepConfig  # noqa: E402
from keepcore.draws import BatchShard  # noqa: E402
from semi_supervised.config import Config, Guide, Loss  # noqa: E402
from semi_supervised.inputs import CIFAR10_MEAN, CIFAR10_STD  # noqa: E402
from semi_supervised.model import build_model  # noqa: E402
from semi_supervised.step import build_step  # noqa: E402
from semi_supervised.strong import build_strong  # noqa: E402

KEEP = KeepConfig(op="paste", score="max", scale=0.5, length=16)
VARIANTS = {
    "labels only": Config(loss=Loss(weight=0.0), augment=KeepConfig(op="none")),
    "RandAugment": Config(augment=KeepConfig(op="none")),
    "KeepRandAugment, half resolution": Config(augment=KEEP),
    "KeepRandAugment, half resolution, a quarter confident": Config(
        augment=KEEP, guide=Guide(confident_only=True)
    ),
    "KeepRandAugment, full resolution": Config(augment=replace(KEEP, scale=1.0)),
    "KeepRandAugment, early head, half resolution": Config(augment=replace(KEEP, head="early")),
}


def variant(config: Config, arguments: argparse.Namespace, device: torch.device):
    """Make one variant's step: a function that trains on one batch."""
    torch.manual_seed(0)
    config = replace(config, model=arguments.network)
    model = build_model(config, 10).to(device).train()
    if arguments.channels_last:
        model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 1e-4, momentum=0.9, nesterov=True)
    normalize = Normalize(CIFAR10_MEAN, CIFAR10_STD)
    draws = (torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    strong = build_strong(config, lambda: model, normalize, draws, BatchShard())

    def images(count: int) -> torch.Tensor:
        return torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8, device=device)

    labels = torch.randint(10, (arguments.labelled,), device=device)
    truth = torch.randint(10, (arguments.unlabelled,), device=device)
    labelled = ([images(arguments.labelled)], labels)
    unlabelled = ([images(arguments.unlabelled), images(arguments.unlabelled)], truth)
    if config.guide.confident_only:
        config = replace(config, loss=replace(config.loss, threshold=quarter(model, normalize(unlabelled[0][0]))))
    step = build_step(config, model, strong, normalize, lambda: 0.5, 10)
    batch = (labelled, None if config.loss.weight == 0 else unlabelled)

    def run() -> None:
        step(batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def quarter(model: torch.nn.Module, images_BCHW: torch.Tensor) -> float:
    """Give the confidence that a quarter of the images has."""
    with torch.no_grad():
        outputs = model(images_BCHW)
    return outputs.softmax(1).amax(1).quantile(0.75).item()


def main() -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="wrn_28_2")
    parser.add_argument("--labelled", type=int, default=8)
    parser.add_argument("--unlabelled", type=int, default=56)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--channels_last", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    runs = {name: variant(config, arguments, device) for name, config in VARIANTS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(arguments.rounds + 2):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number >= 2:
                seconds[name].append(time.perf_counter() - start)
    plain = statistics.median(seconds["RandAugment"])
    ratios = {name: statistics.median(values) / plain for name, values in seconds.items()}
    for name, ratio in ratios.items():
        print(f"{name:56} {ratio:.3f}")
    if arguments.out:
        asked = {key: value for key, value in vars(arguments).items() if key != "out"}
        result = {**asked, "device": str(device), "plain_seconds": plain, "ratios": ratios}
        write_measurement(result, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
