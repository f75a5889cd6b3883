"""Streams of crops of labelled and of unlabelled images; the step augments the unlabelled ones further."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset
from torchvision.transforms import v2

from engine.errors import UserError, as_user_error
from engine.loader import EpochLoader, in_order
from engine.seed import generator
from imagesets.classification import OPENERS, ImageSet, Records, in_memory, labels_of, resized
from imagesets.readers import read_rgb
from imagesets.resident import CropDraws, ResidentLoader
from keepcore.build import choose
from keepcore.draws import BatchShard
from semi_supervised.config import Data
from semi_supervised.split import Endless, fingerprint, labelled_subset, read_indices

RESIDENT_LIMIT = 2**30
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")


class Photos(Dataset[Any]):
    """Unlabelled images of a folder and its subfolders: index -> (PIL image, -1).

    Raises:
        UserError: the folder does not exist or contains no images.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UserError(f"data.unlabelled_root: folder {root} not found")
        paths = (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        self.paths = sorted(p for p in paths if not any(n.startswith(".") for n in p.relative_to(root).parts))
        if not self.paths:
            raise UserError(f"data.unlabelled_root: {root} contains no images ({', '.join(SUFFIXES)})")
        self.targets = [-1] * len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return read_rgb(self.paths[index]), -1

    def __len__(self) -> int:
        return len(self.paths)


class Opened(NamedTuple):
    """The parts of a data set: index -> (PIL image, label).

    Attributes:
        labelled: labelled training images.
        unlabelled: images of the unlabelled loss, with their labels (for the log only) or -1.
        val: validation images.
        classes: class names in label order.
        split: indices of the labelled images, and their hash.
    """

    labelled: Any
    unlabelled: Any
    val: Any
    classes: tuple[str, ...]
    split: dict[str, Any]


def open_source(data: Data) -> ImageSet:
    """Open the data set of a config.

    Raises:
        UserError: unknown name, missing folder or wrong layout.

    Source: :mod:`imagesets.classification`.
    """
    with as_user_error():
        open_set = choose(OPENERS, data.dataset, "data.dataset")
    return open_set(Path(data.root).expanduser())


def open_parts(data: Data, seed: int, *, unlabelled: bool = True) -> Opened:
    """Open a data set and choose which training images are labelled.

    Args:
        data: data options of the run.
        seed: seed of the run.
        unlabelled: whether the unlabelled images are needed.

    Raises:
        UserError: see :func:`open_source`; the split is impossible, or a batch is larger than the unlabelled set.

    Source: google-research/uda image/preprocess.py (all training images are also unlabelled images).
    """
    source = open_source(data)
    labels = labels_of(source.train)
    labelled = (
        read_indices(Path(data.label_file).expanduser(), labels)
        if data.label_file
        else labelled_subset(labels, data.labels, seed if data.split_seed < 0 else data.split_seed)
    )
    many: Any = source.train
    if not unlabelled:
        pass
    elif data.unlabelled_root:
        many = Photos(Path(data.unlabelled_root).expanduser())
    elif not data.include_labelled:
        many = take(source.train, sorted(set(range(len(labels))) - set(labelled)))
    if unlabelled and data.unlabelled_batch > len(many):
        raise UserError(
            f"data.unlabelled_batch: {data.unlabelled_batch} exceeds the {len(many)} unlabelled images"
        )
    split = {"hash": fingerprint(labelled), "indices": labelled}
    return Opened(take(source.train, labelled), many, source.val, source.classes, split)


def take(images: Any, indices: Sequence[int]) -> Any:
    """Return a subset of a part, with its labels."""
    if isinstance(images, Records):
        return Records(images.images_NHWC[list(indices)], [images.labels[i] for i in indices])
    part: Any = Subset(images, list(indices))
    part.targets = [images.targets[i] for i in indices]
    return part


class Crops(Dataset[Any]):
    """Images after resizing, reflection padding, random crop and flip: number -> (uint8 crops, label).

    Args:
        images: map-style data set, index -> (PIL image, label).
        data: image size, padding and flip probability.
        crops: number of independent crops of each image.

    Source: google-research/uda image/data.py.
    """

    def __init__(self, images: Any, data: Data, crops: int) -> None:
        self.images, self.size, self.crops = images, data.image_size, crops
        self.transform = v2.Compose(
            [
                v2.RandomCrop(data.image_size, padding=data.padding, padding_mode="reflect"),
                v2.RandomHorizontalFlip(data.hflip),
                v2.PILToTensor(),
            ]
        )

    def __getitem__(self, number: int) -> tuple[list[Tensor], int]:
        image, label = self.images[number % len(self.images)]
        square = resized(image, self.size)
        return [self.transform(square) for _ in range(self.crops)], int(label)

    def __len__(self) -> int:
        return len(self.images)


def resident_crops(
    records: Records, plan: Endless, data: Data, crops: int, device: torch.device
) -> ResidentLoader:
    """Build the same as :class:`Crops` from images in device memory: batches of (uint8 crops, labels_B).

    Args:
        records: images of the size of the crop.
        plan: batch plan of this process; its numbers modulo the size of the set are the samples.
        data: padding and flip probability.
        crops: number of independent crops of each image.
        device: device that holds the images.

    Source: google-research/uda image/data.py.
    """
    images_NCHW = torch.from_numpy(records.images_NHWC).permute(0, 3, 1, 2).contiguous().to(device)
    height, width = images_NCHW.shape[2:]
    labels_N = torch.tensor(records.labels, device=device)
    share = plan.batch_size // plan.processes
    own = slice(plan.rank * share, (plan.rank + 1) * share)

    def draw(epoch: int, skip: int) -> Iterator[CropDraws]:
        for step, batch in enumerate(plan(epoch)):
            if step < skip:
                continue
            draws, views = generator(plan.seed, plan.purpose, "crop", epoch, step), []
            for _ in range(crops):
                offsets_B2 = torch.randint(2 * data.padding + 1, (plan.batch_size, 2), generator=draws)[own]
                flips_B = (torch.rand(plan.batch_size, generator=draws) < data.hflip)[own]
                views.append((offsets_B2, flips_B))
            yield CropDraws(torch.tensor(batch) % plan.count, views)

    padded_NCHW = reflected(images_NCHW, data.padding)
    return ResidentLoader(padded_NCHW, labels_N, (height, width), plan.steps, draw)


def reflected(images_NCHW: Tensor, padding: int) -> Tensor:
    """Add a border that mirrors the image without repeating its edge.

    Args:
        images_NCHW: images of any dtype, larger than the padding.
        padding: width of the border, in pixels.

    Raises:
        UserError: the padding is not smaller than the image.

    Source: torch.nn.functional.pad (reflect), which has no uint8 version.
    """
    height, width = images_NCHW.shape[2:]
    if padding >= min(height, width):
        raise UserError(f"data.padding must be smaller than the image of {height} x {width}, got {padding}")
    rows, columns = (
        torch.from_numpy(np.pad(np.arange(n), padding, mode="reflect")).to(images_NCHW.device)
        for n in (height, width)
    )
    return images_NCHW[:, :, rows][:, :, :, columns]


class PairLoader:
    """Iterates over a labelled and an unlabelled stream together; without the latter, its batches are None."""

    def __init__(self, labelled: Any, unlabelled: Any) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Set the epoch of both streams and the number of batches to skip."""
        for stream in (self.labelled, self.unlabelled):
            if stream is not None:
                stream.set_epoch(epoch, skip)

    def __len__(self) -> int:
        return len(self.labelled)

    def __iter__(self) -> Iterator[Any]:
        if self.unlabelled is None:
            return ((batch, None) for batch in self.labelled)
        return zip(self.labelled, self.unlabelled, strict=True)


def build_loader(
    data: Data, opened: Opened, crops: int, seed: int, device: torch.device, share: BatchShard
) -> PairLoader:
    """Build both streams.

    Args:
        data: data options of the run.
        opened: parts of the data set.
        crops: number of crops of each unlabelled image; 0 omits the unlabelled stream.
        seed: seed of the run.
        device: device to train on.
        share: this process's part of every batch.

    Raises:
        UserError: the batches are impossible, or an image cannot be read.

    Source: google-research/uda image/data.py.
    """
    streams: list[Any] = [None, None]
    parts = (
        (opened.labelled, data.labelled_batch, 1, "labelled"),
        (opened.unlabelled, data.unlabelled_batch, crops, "unlabelled"),
    )
    for number, (images, batch, views, purpose) in enumerate(parts):
        if views:
            plan = Endless(len(images), batch, data.steps_per_epoch, seed, purpose, *share)
            records = resident(images, data)
            streams[number] = (
                EpochLoader(
                    Crops(images, data, views), plan, seed, workers=data.workers, pin=device.type == "cuda"
                )
                if records is None
                else resident_crops(records, plan, data, views, device)
            )
    return PairLoader(*streams)


def resident(images: Any, data: Data) -> Records | None:
    """Load a part into memory if the config allows it.

    Returns:
        The images, or None if they stay on disk.
    """
    limits = {"auto": RESIDENT_LIMIT, "yes": 2**62, "no": -1}
    return in_memory(images, data.image_size, limits[data.resident])


class Squares(Dataset[Any]):
    """Images resized to squares: index -> (uint8 C x S x S, label)."""

    def __init__(self, images: Any, size: int) -> None:
        self.images, self.size = images, size

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.images[index]
        return torch.from_numpy(np.asarray(resized(image, self.size)).copy()).permute(2, 0, 1), int(label)

    def __len__(self) -> int:
        return len(self.images)


def eval_batches(images: Any, data: Data, share: BatchShard) -> EpochLoader:
    """Return this process's part of the evaluation images in batches of (uint8 images_BCHW, labels_B)."""
    mine = range(share.rank, len(images), share.processes)
    squares = Squares(images, data.image_size)
    workers = 0 if isinstance(images, Records) else data.workers
    return EpochLoader(squares, in_order(mine, data.eval_batch_size), 0, workers=workers)
