#!/usr/bin/env python3
"""Augmentation stage and whole training step of KeepCutout here and in other packages, all in one run.

    git clone https://github.com/cjf8899/KeepAugment_Pytorch PEER
    pip install bnnr==0.8.0
    python benchmarks/peers.py --keepaugment_pytorch PEER --bnnr gradcam --out RESULT.json

One network, one batch of 32 x 32 images, one optimizer; the variants take turns. cjf8899's Keep_Cutout runs as its
train.py calls it: on normalised images, with its rejection loop, and with the crop and flip that it applies to
each image again on the CPU; its .cuda() calls do nothing on a machine without a GPU. bnnr's AICD is no KeepCutout:
it masks the least salient tiles of every image, by Grad-CAM or Opti-CAM at the last stage, on uint8 arrays. A peer
that is not given is left out. What takes more than 20 plain steps is measured once. The learning
rate is 0, so that all variants see one network.
"""

import argparse
import importlib
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import transforms

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from engine.run_folder import write_measurement  # noqa: E402
from imagesets.classification import CIFAR_MEAN, CIFAR_STD  # noqa: E402
from imagesets.normalize import Normalize  # noqa: E402
from keepcore import KeepCutout, anywhere, at_scale, feature_gradient, input_gradient  # noqa: E402
from networks.create import create_network  # noqa: E402

LENGTH = 16
EXPLAINERS = {"gradcam": "Grad-CAM", "opticam": "Opti-CAM"}
SLOW = 20  # times the plain step; what takes longer is measured once
Augment = Callable[[nn.Module, Tensor, Tensor], Tensor]


def ours() -> dict[str, Augment]:
    """Return our variants: (model, uint8 images, labels) -> normalised images."""
    normalize = Normalize(CIFAR_MEAN, CIFAR_STD)
    generator = torch.Generator().manual_seed(0)
    options = {
        "ours, Cutout": {"selector": anywhere},
        "ours, KeepCutout": {"saliency": input_gradient},
        "ours, KeepCutout, low resolution": {"saliency": at_scale(input_gradient, 0.5)},
        "ours, KeepCutout, feature gradient, low resolution": {"saliency": at_scale(feature_gradient, 0.5)},
    }

    def variant(keep) -> Augment:
        return lambda model, images, labels: (
            keep(model, normalize(images), labels, generator=generator).images_BCHW
        )

    return {name: variant(KeepCutout(LENGTH, **more)) for name, more in options.items()}


def keepaugment_pytorch(clone: Path, device: torch.device) -> dict[str, Augment]:
    """Return cjf8899's variants."""
    sys.path.insert(0, str(clone))
    peer = importlib.import_module("util.keep_cutout")
    if device.type != "cuda":
        torch.Tensor.cuda = lambda self, *a, **k: self
    crop = transforms.Compose(
        [
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(CIFAR_MEAN, CIFAR_STD),
        ]
    )
    normalize = Normalize(CIFAR_MEAN, CIFAR_STD)

    def variant(kind) -> Augment:
        augment = kind(crop, CIFAR_MEAN, CIFAR_STD, LENGTH)
        return lambda model, images, labels: augment(normalize(images), model)

    return {
        "cjf8899, Keep_Cutout": variant(peer.Keep_Cutout),
        "cjf8899, Keep_Cutout_Low": variant(peer.Keep_Cutout_Low),
    }


def bnnr(model: nn.Module, explainers: list[str]) -> dict[str, Augment]:
    """Return bnnr's variants."""
    peer = importlib.import_module("bnnr.icd")
    normalize = Normalize(CIFAR_MEAN, CIFAR_STD)

    def variant(explainer: str) -> Augment:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the cache, which would keep maps of fixed images
            augment = peer.AICD(model, [model.layer4], explainer=explainer)

        def apply(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
            arrays = images.permute(0, 2, 3, 1).cpu().numpy()
            result = torch.from_numpy(augment.apply_batch_with_labels(arrays, labels.cpu().numpy()))
            return normalize(result.permute(0, 3, 1, 2).to(images.device))

        return apply

    return {f"bnnr, AICD with {EXPLAINERS[name]}": variant(name) for name in explainers}


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    run()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(variants: dict[str, Augment], step, stage, rounds: int, device: torch.device):
    """Return the seconds of the stage alone and of the whole step, for each variant."""
    alone: dict[str, list[float]] = {name: [] for name in variants}
    whole: dict[str, list[float]] = {name: [] for name in variants}
    slow: set[str] = set()
    for number in range(rounds + 1):
        for name, augment in variants.items():
            if name in slow:
                continue
            seconds = [timed(lambda a=augment: stage(a), device), timed(lambda a=augment: step(a), device)]
            if number == 0 and seconds[1] > SLOW * timed(lambda: step(variants["ours, Cutout"]), device):
                slow.add(name)
            if number or name in slow:  # the first round warms up, but for what takes minutes
                alone[name].append(seconds[0])
                whole[name].append(seconds[1])
    return alone, whole


def main() -> int:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keepaugment_pytorch", type=Path, help="clone of cjf8899/KeepAugment_Pytorch")
    parser.add_argument(
        "--bnnr", nargs="*", default=[], choices=tuple(EXPLAINERS), help="the installed bnnr's maps"
    )
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    model = create_network("cifar_resnet18", 10, {}).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.0, momentum=0.9)
    images = torch.randint(256, (arguments.batch, 3, 32, 32), dtype=torch.uint8, device=device)
    labels = torch.randint(10, (arguments.batch,), device=device)
    variants = ours()
    if arguments.keepaugment_pytorch:
        variants |= keepaugment_pytorch(arguments.keepaugment_pytorch, device)
    variants |= bnnr(model, arguments.bnnr) if arguments.bnnr else {}

    def step(augment: Augment) -> None:
        augmented = augment(model, images, labels)
        F.cross_entropy(model(augmented), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    stage, whole = measure(
        variants, step, lambda augment: augment(model, images, labels), arguments.rounds, device
    )
    plain = statistics.median(whole["ours, Cutout"])
    rows = {}
    for name in variants:
        alone, full = statistics.median(stage[name]), statistics.median(whole[name])
        rows[name] = {
            "stage_images_per_second": round(arguments.batch / alone, 1),
            "step_images_per_second": round(arguments.batch / full, 1),
            "step_ratio": round(full / plain, 3),
        }
        print(f"{name:52} {rows[name]}")
    if arguments.out:
        result = {"what": str(__doc__).splitlines()[0], "batch": arguments.batch, "rounds": arguments.rounds}
        write_measurement({**result, "rows": rows}, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
