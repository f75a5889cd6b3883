"""Market-1501 folders: strict names, junk and distractors by the book."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from keepcore.build import choose
from keepcore.run.demo import ensure
from keepcore.run.errors import UserError
from keepcore.run.images import read_rgb
from reid.config import Data

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
JUNK, DISTRACTOR = -1, 0
_NAME = re.compile(r"(-1|\d{4})_c(\d)s(\d)_(\d{6})_(\d{2})\.(?:jpg|png)(?:\.jpg)?")


class Photo(NamedTuple):
    """One cropped person: file, identity and camera (1-based, as in the file name)."""

    path: Path
    person: int
    camera: int


class Source(NamedTuple):
    """The parts of a data set.

    Attributes:
        train: labelled photos.
        query: photos to look for.
        gallery: photos to look in, distractors (id 0) included, junk (id -1) left out.
        people: ids of the training part, sorted; their index is the class label.
    """

    train: list[Photo]
    query: list[Photo]
    gallery: list[Photo]
    people: list[int]


def open_source(data: Data) -> Source:
    """Read the three folders.

    Raises:
        UserError: unknown data set, missing folder, foreign file names, no identity in both query and gallery.

    Source: Market-1501 readme; michuanhaohao/reid-strong-baseline data/datasets/market1501.py.
    """
    return choose(SOURCES, data.dataset, "data.dataset")(Path(data.root).expanduser())


def _market(root: Path) -> Source:
    train, query, gallery = (read_folder(root / part) for part in (TRAIN, QUERY, GALLERY))
    train = [photo for photo in train if photo.person != JUNK]
    gallery = [photo for photo in gallery if photo.person != JUNK]
    if not {photo.person for photo in query} & {photo.person for photo in gallery}:
        raise UserError(f"{root}: no identity of {QUERY}/ is in {GALLERY}/: nothing can be found")
    return Source(train, query, gallery, sorted({photo.person for photo in train}))


def _demo(root: Path) -> Source:
    return _market(ensure(None if root == Path() else root) / "reid")


SOURCES: dict[str, Callable[[Path], Source]] = {"demo": _demo, "market1501": _market}


def read_folder(folder: Path) -> list[Photo]:
    """List the photos of a folder by name.

    Args:
        folder: one of the three.

    Returns:
        Photos in the order of their names. Only the file name counts, never the folder's.

    Raises:
        UserError: the folder is missing or empty, or a picture is not named ``PPPP_cCsS_FFFFFF_BB.jpg``.

    Source: Market-1501 readme.
    """
    if not folder.is_dir():
        raise UserError(f"data.root: no folder {folder.resolve()}; expected {TRAIN}/, {QUERY}/ and {GALLERY}/")
    photos = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in (".jpg", ".png"):
            continue
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise UserError(f"{path}: not a Market-1501 name such as 0002_c1s1_000451_03.jpg")
        photos.append(Photo(path, int(match[1]), int(match[2])))
    if not photos:
        raise UserError(f"{folder} holds no .jpg or .png")
    return photos


class Photos(Dataset[Any]):
    """Photos as (uint8 3 x H x W, label).

    Args:
        photos: in order.
        labels: one per photo.
        transform: PIL image -> uint8 tensor.

    Source: elementary.
    """

    def __init__(self, photos: Sequence[Photo], labels: Sequence[int], transform: Callable[[Any], Tensor]) -> None:
        self.photos, self.labels, self.transform = photos, labels, transform

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(read_rgb(self.photos[index].path)), self.labels[index]

    def __len__(self) -> int:
        return len(self.photos)


def train_transform(data: Data) -> Callable[[Any], Tensor]:
    """Resize, flip, pad with black and crop. Erasing follows on the device, after normalisation.

    Source: michuanhaohao/reid-strong-baseline data/transforms/build.py.
    """
    size = [data.height, data.width]
    return v2.Compose(
        [
            v2.Resize(size),
            v2.RandomHorizontalFlip(data.hflip),
            v2.RandomCrop(size, padding=data.padding),
            v2.PILToTensor(),
        ]
    )


def eval_transform(data: Data) -> Callable[[Any], Tensor]:
    """Resize only.

    Source: michuanhaohao/reid-strong-baseline data/transforms/build.py.
    """
    return v2.Compose([v2.Resize([data.height, data.width]), v2.PILToTensor()])
