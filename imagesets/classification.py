"""Opens classification data sets: index -> (PIL image, label)."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch.utils.data import Dataset
from torchvision.datasets import CIFAR10

from engine.errors import UserError
from engine.progress import tracked
from imagesets.demo.make import ensure
from imagesets.folders import open_csv, open_folder, validation_folder
from imagesets.normalize import IMAGENET_MEAN, IMAGENET_STD

CIFAR_MEAN = (125.3 / 255, 123.0 / 255, 113.9 / 255)
CIFAR_STD = (63.0 / 255, 62.1 / 255, 66.7 / 255)


@dataclass(frozen=True)
class ImageSet:
    """An opened data set.

    Attributes:
        train: training set; map-style, index -> (PIL image, label).
        val: validation set, likewise. Either may be a stream: an iterable over such pairs.
        classes: class names, in label order.
        mean: mean per channel for the normalisation, of values in [0, 1].
        std: standard deviation, likewise.
        set_aside: whether the validation set is a part of the images that was set aside, see :class:`Split`.
    """

    train: Any
    val: Any
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    set_aside: bool = False


class Records(Dataset[Any]):
    """Images held in memory: uint8 N x H x W x 3."""

    def __init__(self, images_NHWC: Any, labels: list[int]) -> None:
        self.images_NHWC, self.labels = images_NHWC, labels

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.images_NHWC[index]), self.labels[index]

    def __len__(self) -> int:
        return len(self.labels)


class Split(NamedTuple):
    """How a validation part is set aside where a data set has none.

    Attributes:
        share: share of the images, in (0, 1).
        seed: seed of the choice.
    """

    share: float = 0.2
    seed: int = 0


def _demo(root: Path, split: Split = Split()) -> ImageSet:  # noqa: B008 - immutable
    return _folder(ensure(None if root == Path() else root) / "classification", split)


def _few_labels(root: Path, split: Split = Split()) -> ImageSet:  # noqa: B008 - immutable
    return _folder(ensure(None if root == Path() else root) / "few_labels", split)


def _folder(root: Path, split: Split = Split()) -> ImageSet:  # noqa: B008 - immutable
    train, val = open_folder(root, *split)
    set_aside = validation_folder(root) is None
    return ImageSet(train, val, tuple(train.classes), IMAGENET_MEAN, IMAGENET_STD, set_aside=set_aside)


def _csv(root: Path, split: Split = Split()) -> ImageSet:  # noqa: B008 - immutable
    train, val, set_aside = open_csv(root, *split)
    return ImageSet(train, val, tuple(train.classes), IMAGENET_MEAN, IMAGENET_STD, set_aside=set_aside)


def _cifar10(root: Path, split: Split = Split()) -> ImageSet:  # noqa: B008 - immutable
    if (root / "cifar-10-batches-bin").is_dir():
        files = sorted((root / "cifar-10-batches-bin").glob("data_batch_*.bin"))
        train, val = _binary(files), _binary([root / "cifar-10-batches-bin" / "test_batch.bin"])
        names = tuple((root / "cifar-10-batches-bin" / "batches.meta.txt").read_text().split())
        return ImageSet(train, val, names, CIFAR_MEAN, CIFAR_STD)
    if (root / "cifar-10-batches-py").is_dir():
        try:
            sets = [CIFAR10(str(root), train=part) for part in (True, False)]
        except (RuntimeError, OSError, ValueError, LookupError) as error:
            raise UserError(f"data.root: {root}/cifar-10-batches-py is damaged or incomplete") from error
        records = [Records(part.data, part.targets) for part in sets]
        return ImageSet(records[0], records[1], tuple(sets[0].classes), CIFAR_MEAN, CIFAR_STD)
    if (root / "train").is_dir():
        source = _folder(root, split)
        return ImageSet(source.train, source.val, source.classes, CIFAR_MEAN, CIFAR_STD)
    raise UserError(
        f"data.root: {root.resolve()} has no CIFAR-10 data: expected cifar-10-batches-py/, cifar-10-batches-bin/, "
        "or train/ and test/ with one folder per class"
    )


def _binary(files: list[Path]) -> Records:
    """Read CIFAR-10's binary version: records of one label byte and 3 x 32 x 32 pixel bytes."""
    if not files or not all(file.is_file() and file.stat().st_size for file in files):
        raise UserError("data.root: cifar-10-batches-bin/ must hold data_batch_*.bin and test_batch.bin")
    content = [np.fromfile(file, np.uint8) for file in files]
    for file, part in zip(files, content, strict=True):
        if len(part) % 3073:
            raise UserError(f"{file} is truncated: its {len(part)} bytes are not a multiple of 3,073")
    rows = np.concatenate(content).reshape(-1, 3073)
    if rows[:, 0].max() > 9:
        raise UserError(f"{files[0].parent} has the label {rows[:, 0].max()}, so it is not CIFAR-10")
    images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Records(np.ascontiguousarray(images), rows[:, 0].astype(int).tolist())


OPENERS: dict[str, Callable[..., ImageSet]] = {  # (root, split) -> the data set
    "demo": _demo,
    "demo_few_labels": _few_labels,
    "cifar10": _cifar10,
    "folder": _folder,
    "csv": _csv,
}


def labels_of(images: Any) -> list[int]:
    """Return the labels of an opened part without reading its images."""
    return list(images.labels if isinstance(images, Records) else images.targets)


def in_memory(images: Any, size: int, limit: int) -> Records | None:
    """Load a part into memory, with its images resized to squares.

    Args:
        images: map-style, index -> (PIL image, label), with ``targets``; or Records that already have this size.
        size: side length, pixels.
        limit: largest total size, bytes.

    Returns:
        Records, or None if they would be larger than the limit.

    Raises:
        UserError: an image cannot be read.
    """
    if len(images) * 3 * size * size > limit:
        return None
    if isinstance(images, Records) and images.images_NHWC.shape[1:3] == (size, size):
        return images
    images_NHWC = np.empty((len(images), size, size, 3), np.uint8)
    for index in tracked(range(len(images)), "reading the images"):
        images_NHWC[index] = np.asarray(resized(images[index][0], size))
    return Records(images_NHWC, labels_of(images))


def resized(image: Image.Image, size: int) -> Image.Image:
    """Resize to a square, bilinear with antialiasing; leave an image of that size alone."""
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BILINEAR)
