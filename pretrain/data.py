"""Data sets and transforms: a sample is (views, label), a view is uint8 C x H x W."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_dataset
from torch.utils.data import Dataset
from torchvision.datasets import CIFAR10, ImageFolder
from torchvision.transforms import v2

from keepcore import TwoViews
from keepcore.build import choose
from keepcore.run.demo import ensure
from keepcore.run.errors import UserError
from keepcore.run.images import IMAGENET_MEAN, IMAGENET_STD, read_rgb
from pretrain.config import Data, Policy

CIFAR_MEAN = (125.3 / 255, 123.0 / 255, 113.9 / 255)
CIFAR_STD = (63.0 / 255, 62.1 / 255, 66.7 / 255)
MEAN_COLOUR = (125, 123, 114)  # fills what a geometric operation uncovers
VALIDATION_NAMES = ("val", "validation", "test")


@dataclass(frozen=True)
class Source:
    """An opened data set.

    Attributes:
        train: map-style, index -> (PIL image, label).
        val: the same.
        classes: their names, in label order.
        mean: of the normalisation, per channel, of values in [0, 1].
        std: the same.
    """

    train: Any
    val: Any
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Transformed(Dataset[Any]):
    """A data set with a transform on its images.

    Source: elementary.
    """

    def __init__(self, images: Any, transform: Callable[[Any], Any]) -> None:
        self.images, self.transform = images, transform

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = self.images[index]
        return self.transform(image), label

    def __len__(self) -> int:
        return len(self.images)


class Records(Dataset[Any]):
    """Images held in memory: uint8 N x H x W x 3.

    Source: elementary.
    """

    def __init__(self, images_NHWC: Any, labels: list[int]) -> None:
        self.images_NHWC, self.labels = images_NHWC, labels

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.images_NHWC[index]), self.labels[index]

    def __len__(self) -> int:
        return len(self.labels)


def open_source(data: Data) -> Source:
    """Open the data set of a config.

    Raises:
        UserError: unknown name, missing folder or wrong layout, class folders that differ between parts.

    Source: torchvision.datasets, timm.data.
    """
    if "/" in data.dataset:
        parts = [
            create_dataset(data.dataset, root=data.root or None, split=part) for part in ("train", "validation")
        ]
        names = tuple(str(i) for i in range(1 + max(int(label) for _, label in parts[1])))
        return Source(parts[0], parts[1], names, IMAGENET_MEAN, IMAGENET_STD)
    opener = choose(SOURCES, data.dataset, "data.dataset")
    return opener(Path(data.root).expanduser())


def _demo(root: Path) -> Source:
    return _folder(ensure(None if root == Path() else root) / "classification")


def _folder(root: Path) -> Source:
    val = next((root / name for name in VALIDATION_NAMES if (root / name).is_dir()), None)
    if not (root / "train").is_dir() or val is None:
        raise UserError(
            f"data.root: {root.resolve()} must hold train/ and val/ (or validation/, test/), each with one "
            "folder of images per class"
        )
    parts = [_image_folder(root / "train"), _image_folder(val)]
    first, second = (set(part.classes) for part in parts)
    if first != second:
        only = sorted(first ^ second)
        raise UserError(f"data.root: {root} has classes that only one part has: {', '.join(only[:5])}")
    return Source(parts[0], parts[1], tuple(parts[0].classes), IMAGENET_MEAN, IMAGENET_STD)


def _image_folder(path: Path) -> ImageFolder:
    try:
        return ImageFolder(str(path), loader=read_rgb)
    except FileNotFoundError as error:
        raise UserError(f"data.root: {error}") from error


def _cifar10(root: Path) -> Source:
    if (root / "cifar-10-batches-bin").is_dir():
        files = sorted((root / "cifar-10-batches-bin").glob("data_batch_*.bin"))
        train, val = _binary(files), _binary([root / "cifar-10-batches-bin" / "test_batch.bin"])
        names = tuple((root / "cifar-10-batches-bin" / "batches.meta.txt").read_text().split())
        return Source(train, val, names, CIFAR_MEAN, CIFAR_STD)
    if (root / "cifar-10-batches-py").is_dir():
        sets = [CIFAR10(str(root), train=part) for part in (True, False)]
        records = [Records(part.data, part.targets) for part in sets]
        return Source(records[0], records[1], tuple(sets[0].classes), CIFAR_MEAN, CIFAR_STD)
    if (root / "train").is_dir():
        source = _folder(root)
        return Source(source.train, source.val, source.classes, CIFAR_MEAN, CIFAR_STD)
    raise UserError(
        f"data.root: {root.resolve()} holds no CIFAR-10: expected cifar-10-batches-py/, cifar-10-batches-bin/, "
        "or train/ and test/ with one folder per class"
    )


def _binary(files: list[Path]) -> Records:
    """Read CIFAR-10's binary version: records of one label byte and 3 x 32 x 32 pixel bytes."""
    content = [np.fromfile(file, np.uint8) for file in files]
    for file, part in zip(files, content, strict=True):
        if len(part) % 3073:
            raise UserError(f"{file} is truncated: {len(part)} bytes are no multiple of 3,073")
    rows = np.concatenate(content).reshape(-1, 3073)
    images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Records(np.ascontiguousarray(images), rows[:, 0].astype(int).tolist())


SOURCES: dict[str, Callable[[Path], Source]] = {"demo": _demo, "cifar10": _cifar10, "folder": _folder}

POLICIES: dict[str, Callable[[Policy], Callable[[Any], Any]]] = {
    "randaugment": lambda p: v2.RandAugment(p.num_ops, p.magnitude, num_magnitude_bins=31, fill=list(MEAN_COLOUR)),
    "autoaugment_cifar10": lambda p: v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10, fill=list(MEAN_COLOUR)),
    "autoaugment_imagenet": lambda p: v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET, fill=list(MEAN_COLOUR)),
    "trivialaugment": lambda p: v2.TrivialAugmentWide(fill=list(MEAN_COLOUR)),
}


def train_transform(data: Data, policy: Policy) -> Callable[[Any], Any]:
    """Build image -> (clean,) or (clean, augmented), both after one crop and flip.

    Raises:
        ValueError: unknown crop or policy.

    Source: uoguelph-mlrg/Cutout train.py (pad), clovaai/CutMix-PyTorch train.py (resized).
    """
    shared = choose({"pad": _pad_crop, "resized": _resized_crop}, data.crop, "data.crop")(data)
    finish = v2.PILToTensor()
    if policy.name == "none":
        return v2.Compose([shared, finish, _Alone()])
    made = choose(POLICIES, policy.name, "policy.name")(policy)
    return TwoViews(shared, made, finish, order=policy.order)


class _Alone:
    """Wrap the only view in a tuple."""

    def __call__(self, image: Any) -> tuple[Any]:
        return (image,)


def _pad_crop(data: Data) -> v2.Transform:
    crop = v2.RandomCrop(data.image_size, padding=data.padding, pad_if_needed=True)
    return v2.Compose([crop, v2.RandomHorizontalFlip(data.hflip), *_jitter(data)])


def _resized_crop(data: Data) -> v2.Transform:
    crop = v2.RandomResizedCrop(data.image_size, scale=data.area)
    return v2.Compose([crop, v2.RandomHorizontalFlip(data.hflip), *_jitter(data)])


def _jitter(data: Data) -> list[v2.Transform]:
    return [v2.ColorJitter(data.jitter, data.jitter, data.jitter)] if data.jitter else []


def eval_transform(data: Data) -> Callable[[Any], Any]:
    """Build image -> uint8 C x S x S: resize the shorter side, crop the centre.

    Source: timm and torchvision evaluation transforms.
    """
    size = data.eval_size or data.image_size
    resize = v2.Resize(round(size / data.crop_pct))
    return v2.Compose([resize, v2.CenterCrop(size), v2.PILToTensor()])


def augmented_of(views: list[torch.Tensor]) -> torch.Tensor | None:
    """Return the second view of a batch, if there is one.

    Source: elementary.
    """
    return views[1] if len(views) > 1 else None
