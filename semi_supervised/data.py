"""Two streams: labelled images, and weak and strong views of all images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from keepcore import TwoViews
from keepcore.run.demo import ensure
from keepcore.run.errors import UserError
from keepcore.run.images import read_rgb
from keepcore.run.loader import EpochLoader
from semi_supervised.config import Data, Uda

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
_FILL = [125, 123, 114]


class Source(NamedTuple):
    """Opened parts: index -> (PIL image, label)."""

    train: ImageFolder
    val: ImageFolder


def open_source(data: Data) -> Source:
    """Open the data set of a config.

    Raises:
        UserError: unknown name, or a folder without train/ and val/ or test/.

    Source: torchvision.datasets.ImageFolder.
    """
    if data.dataset not in ("demo", "folder"):
        raise UserError(f"data.dataset must be demo or folder, got {data.dataset!r}")
    root = Path(data.root).expanduser()
    if data.dataset == "demo":
        root = ensure(Path(data.root) if data.root else None) / "classification"
    val = next((root / name for name in ("val", "test") if (root / name).is_dir()), None)
    if val is None or not (root / "train").is_dir():
        raise UserError(f"data.root: {root.resolve()} must hold train/ and val/ (or test/) of class folders")
    try:
        return Source(*(ImageFolder(str(part), loader=read_rgb) for part in (root / "train", val)))
    except FileNotFoundError as error:
        raise UserError(f"data.root: {error}") from error


class Views(Dataset[Any]):
    """Images through one or several transforms: (uint8 views, label).

    Args:
        images: index -> (PIL image, label).
        indices: which of them.
        transforms: each draws its own crop; a transform may return several views.

    Source: elementary.
    """

    def __init__(self, images: Any, indices: Sequence[int], transforms: Sequence[Any]) -> None:
        self.images, self.indices, self.transforms = images, indices, transforms

    def __getitem__(self, index: int) -> tuple[list[Any], int]:
        image, label = self.images[self.indices[index]]
        views: list[Any] = []
        for transform in self.transforms:
            made = transform(image)
            views += made if isinstance(made, tuple) else (made,)
        return views, label

    def __len__(self) -> int:
        return len(self.indices)


def weak_transform(data: Data) -> Any:
    """Resize, reflect, crop and flip.

    Source: google-research/uda image/data.py.
    """
    return v2.Compose([*_crop(data), v2.PILToTensor()])


def strong_transform(data: Data, uda: Uda) -> TwoViews:
    """Give (clean, RandAugment of it) after a crop of its own; Cutout follows on the device.

    Source: google-research/uda image/data.py; Gong et al., CVPR 2021, Sec. 4.3.
    """
    policy = v2.RandAugment(uda.num_ops, uda.magnitude, num_magnitude_bins=31, fill=_FILL)
    return TwoViews(v2.Compose(_crop(data)), policy, v2.PILToTensor())


def eval_transform(data: Data) -> Any:
    """Resize only.

    Source: elementary.
    """
    return v2.Compose([v2.Resize([data.image_size] * 2), v2.PILToTensor()])


def _crop(data: Data) -> list[v2.Transform]:
    return [
        v2.Resize([data.image_size] * 2),
        v2.RandomCrop(data.image_size, padding=data.padding, padding_mode="reflect"),
        v2.RandomHorizontalFlip(data.hflip),
    ]


class PairLoader:
    """Steps through a labelled and an unlabelled stream together.

    Source: elementary.
    """

    def __init__(self, labelled: EpochLoader, unlabelled: EpochLoader) -> None:
        self.labelled, self.unlabelled = labelled, unlabelled

    def set_epoch(self, epoch: int, skip: int = 0) -> None:
        """Choose the epoch of both, and how many batches to leave out."""
        self.labelled.set_epoch(epoch, skip)
        self.unlabelled.set_epoch(epoch, skip)

    def __len__(self) -> int:
        return len(self.labelled)

    def __iter__(self) -> Iterator[Any]:
        return zip(self.labelled, self.unlabelled, strict=True)
