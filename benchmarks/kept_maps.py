#!/usr/bin/env python3
"""How well cheaper saliency agrees with that of the network at the moment: kept maps, an average, a small network.

    python benchmarks/kept_maps.py --root CIFAR10 --out RESULT.json

A ResNet-18 trains on CIFAR-10 with KeepCutout, its maps computed at every step (feature gradient at half size).
From the second epoch on, every source scores the same crops, and all choose boxes of 16 px with the same draws.

* correlation: rank correlation of the scores of all boxes inside an image with the exact ones, mean over images;
* equal boxes: share of images for which the same box is chosen;
* kept area: intersection over union of the chosen boxes.

"another image's map" is what agreement comes from the places of objects alone. Prices are in the results of
benchmarks/step_time.py.
"""

import argparse
import copy
import statistics
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from engine.loader import shuffled  # noqa: E402
from engine.run_folder import write_measurement  # noqa: E402
from imagesets.classification import OPENERS, Records, in_memory  # noqa: E402
from imagesets.normalize import Normalize  # noqa: E402
from keepcore import KeepAugment, KeepConfig, MapCache, build_keep  # noqa: E402
from keepcore.boxes import box_mask  # noqa: E402
from keepcore.draws import BatchShard  # noqa: E402
from keepcore.scores import box_scores, candidates  # noqa: E402
from networks.create import create_network  # noqa: E402
from pretrain.crop_windows import IndexedLoader  # noqa: E402
from pretrain.guide import KeptMaps  # noqa: E402
from pretrain.loaders import resident_loader  # noqa: E402

LENGTH, BATCH, DECAY = 16, 128, 0.99
REFRESH = (2, 5, 10, 20)
EXACT = KeepConfig(op="cutout", length=LENGTH, saliency="feature_gradient", scale=0.5, border="inside")


def rank_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Return Spearman's correlation of each row."""
    ranks = [x.argsort(1).argsort(1).float() for x in (one, other)]
    ranks = [(r - r.mean(1, keepdim=True)) / r.std(1, keepdim=True) for r in ranks]
    return (ranks[0] * ranks[1]).mean(1)


def agreement(keep: KeepAugment, map_BHW: Tensor, exact_BHW: Tensor, images: Tensor) -> dict[str, float]:
    """Compare what a map chooses with what the exact one does."""
    grid = candidates(torch.tensor([[LENGTH, LENGTH]]), *images.shape[-2:], "inside")
    scores = [box_scores(m, grid, "sum").flatten(1) for m in (map_BHW, exact_BHW)]
    boxes = [
        keep(lambda x: x, images, map_BHW=m, generator=torch.Generator().manual_seed(0)).boxes_B4
        for m in (map_BHW, exact_BHW)
    ]
    masks = [box_mask(b, *images.shape[-2:]) for b in boxes]
    union = (masks[0] | masks[1]).sum((1, 2))
    return {
        "correlation": rank_correlation(*scores).nanmean().item(),
        "equal_boxes": (boxes[0] == boxes[1]).all(1).float().mean().item(),
        "kept_area": ((masks[0] & masks[1]).sum((1, 2)) / union).mean().item(),
    }


def train_small(images: Records, normalize: Normalize, classes: int, epochs: int):
    """Train the small network with crops alone."""
    torch.manual_seed(1)
    net = create_network("cifar_resnet18", classes, {"width": 8})
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    plan = shuffled(len(images), BATCH, 1)
    loader = resident_loader(images, plan, 1, device=torch.device("cpu"), padding=4, hflip=0.5)
    for epoch in range(epochs):
        loader.set_epoch(epoch)
        for (pixels,), labels in loader:
            F.cross_entropy(net(normalize(pixels)), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
    return net


def main() -> int:
    """Train, compare, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    source = OPENERS["cifar10"](arguments.root)
    everything = in_memory(source.train, 32, 1 << 30)
    step = len(everything) // arguments.images
    images = Records(everything.images_NHWC[::step], list(everything.labels[::step]))
    normalize, classes = Normalize(source.mean, source.std), len(source.classes)
    small = train_small(images, normalize, classes, arguments.epochs)
    torch.manual_seed(0)
    net = create_network("cifar_resnet18", classes, {"width": arguments.width})
    average = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arguments.epochs)
    keep, generator = build_keep(EXACT), torch.Generator().manual_seed(0)
    kept = {every: KeptMaps(MapCache(len(images)), every) for every in REFRESH}
    plan = shuffled(len(images), BATCH, 0)
    loader = IndexedLoader(
        resident_loader(images, plan, 0, device=torch.device("cpu"), padding=4, hflip=0.5, with_windows=True), plan
    )
    found: dict[str, list[dict[str, float]]] = {}
    for epoch in range(arguments.epochs):
        loader.set_epoch(epoch)
        for number, ((pixels,), labels, extras) in enumerate(loader):
            clean = normalize(pixels)
            exact = keep.map_of(net, clean, labels)
            maps = {
                f"kept, refreshed every {k} epochs": m.maps(keep, net, clean, labels, extras, BatchShard())
                for k, m in kept.items()
            }
            if epoch and number % 8 == 0:
                maps["average of the network"] = keep.map_of(average, clean, labels)
                maps["small network"] = keep.map_of(small, clean, labels)
                maps["input gradient"] = build_keep(KeepConfig(op="cutout")).map_of(net, clean, labels)
                maps["another image's map"] = exact.roll(1, 0)
                for name, map_BHW in maps.items():
                    found.setdefault(name, []).append(agreement(keep, map_BHW, exact, clean))
            augmented = keep(net, clean, labels, map_BHW=exact, generator=generator).images_BCHW
            F.cross_entropy(net(augmented), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                for own, new in zip(average.state_dict().values(), net.state_dict().values(), strict=True):
                    own.lerp_(new, 1 - DECAY) if own.is_floating_point() else own.copy_(new)
        schedule.step()
    rows = {
        name: {key: round(statistics.fmean(value[key] for value in values), 3) for key in values[0]}
        for name, values in found.items()
    }
    for name, row in rows.items():
        print(f"{name:36} {row}")
    if arguments.out:
        result = {"what": str(__doc__).splitlines()[0], "images": len(images), "epochs": arguments.epochs}
        write_measurement({**result, "width": arguments.width, "rows": rows}, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
