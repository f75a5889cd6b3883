"""Predictions of a trained network for images, as a CSV file and a sheet."""

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import v2

from engine.config import TrainingConfig
from engine.errors import UserError, check_ranges
from engine.files import check_targets, replacing
from engine.loader import EpochLoader, in_order
from engine.progress import tracked
from engine.setup import build_accelerator
from imagesets.contact_sheet import check_picture_name
from imagesets.normalize import Normalize
from imagesets.readers import read_rgb
from keepcore import borrowed, feature_gradient
from keepcore.saliency import max_logit
from networks.open import OpenNetwork, open_network
from pretrain.picture_sheets import prediction_sheet
from pretrain.predict import PredictOptions


@dataclass(frozen=True)
class Prediction:
    """The prediction for one image.

    Attributes:
        path: the image.
        probabilities_K: float32, on the CPU.
        label: index of its class, by the name of its folder; -1 if unknown.
    """

    path: Path
    probabilities_K: Tensor
    label: int

    @property
    def best(self) -> int:
        """The most probable class."""
        return int(self.probabilities_K.argmax())


class Example(NamedTuple):
    """An image of the sheet: uint8 C x S x S, its saliency map_SS, and what is written above it."""

    image_CSS: Tensor
    map_SS: Tensor
    caption: str


def predict(options: PredictOptions) -> None:
    """Classify the images; implements ``python -m pretrain.predict``.

    Raises:
        UserError: the network or an image cannot be opened, there are no images, or a value is out of range.
    """
    check_ranges(options, top=(1, None), columns=(1, 200), batch_size=(1, None), workers=(0, None))
    check_targets(options.csv_file, options.picture)
    if options.picture:
        check_picture_name(options.picture)
    paths = find_images(options.images)
    opened = open_network(
        options.network, arch=options.arch, pretrained=options.pretrained and not Path(options.network).exists()
    )
    predictions = list(_predictions(options, opened, paths))
    _write_csv(predictions, opened, options)
    right = [p.best == p.label for p in predictions if p.label >= 0]
    if right:
        print(f"{sum(right)} of {len(right)} images with a label are classified correctly", file=sys.stderr)
    if options.picture:
        prediction_sheet(_examples(predictions, opened, options), Path(options.picture))


def find_images(given: Sequence[str]) -> list[Path]:
    """List image files, and those in folders and their subfolders, sorted by name.

    Raises:
        UserError: a path does not exist, or a folder has no images.
    """
    paths: list[Path] = []
    for name in given:
        path = Path(name).expanduser()
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMG_EXTENSIONS and p.is_file())
            if not found:
                raise UserError(f"images: {path} has no images ({', '.join(IMG_EXTENSIONS)})")
            paths += found
        elif path.is_file():
            paths.append(path)
        else:
            raise UserError(f"images: {path} not found")
    return paths


class _Crops:
    """Index -> (uint8 C x S x S, whether it could be read)."""

    def __init__(self, paths: Sequence[Path], opened: OpenNetwork, on_corrupt: str) -> None:
        self.paths, self.crop, self.on_corrupt = paths, v2.Compose([opened.crop(), v2.PILToTensor()]), on_corrupt
        self.size = opened.size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, bool]:
        try:
            return self.crop(read_rgb(self.paths[index])), True
        except UserError as error:
            if self.on_corrupt == "fail":
                raise UserError(f"{error}; use --on_corrupt skip to leave such images out") from error
            print(f"skipped: {error}", file=sys.stderr)
            return torch.zeros(3, self.size, self.size, dtype=torch.uint8), False


def _predictions(options: PredictOptions, opened: OpenNetwork, paths: Sequence[Path]) -> Iterator[Prediction]:
    device = build_accelerator(TrainingConfig(device=options.device)).device
    model, normalize = opened.model.to(device), Normalize(opened.mean, opened.std)
    plan = in_order(range(len(paths)), options.batch_size)
    loader = EpochLoader(_Crops(paths, opened, options.on_corrupt), plan, 0, workers=options.workers)
    label_of = {name: index for index, name in enumerate(opened.classes)}
    for indices, (images_BCHW, readable_B) in zip(plan(0), tracked(loader, "images", len(plan(0))), strict=True):
        with torch.no_grad(), borrowed(model) as network:
            probabilities_BK = network(normalize(images_BCHW.to(device))).float().softmax(1).cpu()
        for index, probabilities_K, readable in zip(indices, probabilities_BK, readable_B, strict=True):
            if readable:
                yield Prediction(paths[index], probabilities_K, label_of.get(paths[index].parent.name, -1))


def _write_csv(predictions: Sequence[Prediction], opened: OpenNetwork, options: PredictOptions) -> None:
    names = opened.classes or tuple(str(index) for index in range(opened.num_classes))
    top = min(options.top, len(names))
    header = ["image", "label", *(f"{what}_{i + 1}" for i in range(top) for what in ("class", "probability"))]
    header += [f"p({name})" for name in names] if options.probabilities else []
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for prediction in predictions:
        values, indices = prediction.probabilities_K.topk(top)
        row: list[Any] = [prediction.path, names[prediction.label] if prediction.label >= 0 else ""]
        for value, index in zip(values.tolist(), indices.tolist(), strict=True):
            row += [names[index], f"{value:.6f}"]
        row += [f"{value:.6f}" for value in prediction.probabilities_K.tolist()] if options.probabilities else []
        writer.writerow(row)
    if not options.csv_file:
        print(text.getvalue(), end="")
        return
    with replacing(Path(options.csv_file)) as file:
        file.write(text.getvalue().encode())
    print(options.csv_file)


def _examples(predictions: Sequence[Prediction], opened: OpenNetwork, options: PredictOptions) -> list[Example]:
    """Choose the images of the sheet: misses first, then images without a label, then hits; evenly spaced."""
    order = sorted(predictions, key=lambda p: 0 if 0 <= p.label != p.best else 1 if p.label < 0 else 2)
    misses = [p for p in order if 0 <= p.label != p.best]
    pool = misses if len(misses) >= options.columns else order
    count = min(options.columns, len(pool))
    chosen = [pool[i * len(pool) // count] for i in range(count)] if pool is misses else pool[:count]
    names = opened.classes or tuple(str(index) for index in range(opened.num_classes))
    crop, normalize = v2.Compose([opened.crop(), v2.PILToTensor()]), Normalize(opened.mean, opened.std)
    images_BCHW = torch.stack([crop(read_rgb(prediction.path)) for prediction in chosen])
    device = next(opened.model.parameters()).device
    with borrowed(opened.model) as network:
        maps_BHW = feature_gradient(network, normalize(images_BCHW.to(device)), score=max_logit).cpu()
    captions = []
    for prediction in chosen:
        caption = f"{names[prediction.best]} {prediction.probabilities_K.max():.0%}"
        if 0 <= prediction.label != prediction.best:
            caption += f"\nnot {names[prediction.label]}"
        captions.append(caption)
    return [Example(*parts) for parts in zip(images_BCHW, maps_BHW, captions, strict=True)]
