"""Images of one's own: class folders with or without a validation part, and CSV files."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch.utils.data import Dataset
from torchvision.datasets import ImageFolder

from engine.errors import UserError
from engine.files import replacing
from imagesets.readers import read_rgb

VALIDATION_NAMES = ("val", "validation", "valid", "test")
IMAGE_COLUMNS = ("image", "path", "file", "filename", "file_name", "filepath")
LABEL_COLUMNS = ("label", "class", "category", "target")
SPLIT_COLUMNS = ("split", "part", "set")


class ImageList(Dataset[Any]):
    """Images with labels: index -> (PIL image, label).

    Args:
        samples: (path, label) of each image.
        classes: class names, in label order.
    """

    def __init__(self, samples: Sequence[tuple[str, int]], classes: Sequence[str]) -> None:
        self.samples, self.classes = list(samples), list(classes)
        self.targets = [label for _, label in self.samples]

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        path, label = self.samples[index]
        return read_rgb(path), label

    def __len__(self) -> int:
        return len(self.samples)


def open_folder(root: Path, val_share: float, split_seed: int) -> tuple[ImageList, ImageList]:
    """Open class folders.

    Args:
        root: holds train/ and val/ (or validation/, valid/, test/), or the class folders themselves, of whose
            images a part is then set aside for validation, see :func:`split`.
        val_share: share of the images to set aside.
        split_seed: seed of the choice.

    Returns:
        Training and validation part.

    Raises:
        UserError: the folder has neither layout, or its parts have different classes.

    Source: torchvision.datasets.ImageFolder.
    """
    val = validation_folder(root)
    train = root / "train"
    if train.is_dir() and val is not None:
        parts = _image_folder(train), _image_folder(val)
        first, second = (set(part.classes) for part in parts)
        if first != second:
            only = sorted(first ^ second)
            raise UserError(f"data.root: {root} has classes that only one of its parts has: {', '.join(only[:5])}")
        return parts
    if val is not None:
        raise UserError(f"data.root: {root.resolve()} has {val.name}/ but no train/")
    whole = _image_folder(train if train.is_dir() else root)
    return split(whole, train if train.is_dir() else root, val_share, split_seed)


def validation_folder(root: Path) -> Path | None:
    """Return the folder of a data set's validation part; None if it has none."""
    return next((root / name for name in VALIDATION_NAMES if (root / name).is_dir()), None)


def split(images: ImageList, root: Path, val_share: float, seed: int) -> tuple[ImageList, ImageList]:
    """Set a share of the images of each class aside for validation.

    Which ones depends on the seed and on each image's path below the root alone, so that images which are added
    later move no others from one part to the other. Each class has at least one image in each part.

    Raises:
        UserError: a class has a single image, or the share is not in (0, 1).
    """
    if not 0.0 < val_share < 1.0:
        raise UserError(f"data.val_share must be in (0, 1), got {val_share}")
    places = [_place(path, root, seed) for path, _ in images.samples]
    held_out = {index for index, place in enumerate(places) if place < val_share}
    for label, name in enumerate(images.classes):
        own = [index for index, target in enumerate(images.targets) if target == label]
        if len(own) < 2:
            raise UserError(
                f"data.root: class {name} of {root} has {len(own)} image: two are the least for a split"
            )
        own.sort(key=places.__getitem__)
        held_out |= {own[0]}
        held_out -= {own[-1]}
    parts = [[s for i, s in enumerate(images.samples) if (i in held_out) == held] for held in (False, True)]
    return ImageList(parts[0], images.classes), ImageList(parts[1], images.classes)


def open_csv(path: Path, val_share: float, split_seed: int) -> tuple[ImageList, ImageList, bool]:
    """Open a CSV file with a column of image paths, one of labels, and perhaps one of parts (train, val).

    Args:
        path: the file; its images are relative to its folder.
        val_share: share of the images to set aside if there is no column of parts.
        split_seed: seed of the choice.

    Returns:
        Training and validation part, and whether the latter was set aside.

    Raises:
        UserError: the file is missing, lacks a column, or names an image that does not exist.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"data.root: cannot read {path}: {error}") from error
    names = list(rows[0]) if rows else []
    image, label = _column(IMAGE_COLUMNS, names, path), _column(LABEL_COLUMNS, names, path)
    part = next((name for name in names if name.lower() in SPLIT_COLUMNS), None)
    classes = sorted({row[label] or "" for row in rows})
    index_of = {name: index for index, name in enumerate(classes)}
    samples = [(str(path.parent / (row[image] or "")), index_of[row[label] or ""]) for row in rows]
    for line, (file_name, _) in enumerate(samples, 2):
        if not Path(file_name).is_file():
            raise UserError(f"{path}, line {line}: image {file_name} not found")
    if part is None:
        return *split(ImageList(samples, classes), path.parent, val_share, split_seed), True
    is_val = [(row[part] or "").lower() in VALIDATION_NAMES for row in rows]
    parts = [[s for s, val in zip(samples, is_val, strict=True) if val == held] for held in (False, True)]
    if not all(parts):
        raise UserError(f"{path}: its column {part} must name both train and val (or validation, valid, test)")
    return ImageList(parts[0], classes), ImageList(parts[1], classes), False


def describe_counts(targets: Sequence[int], classes: Sequence[str]) -> str:
    """Say how many images the smallest and the largest class have; "" if they differ at most threefold."""
    counts = Counter(targets)
    few, many = (pick(range(len(classes)), key=lambda label: counts[label]) for pick in (min, max))
    if counts[many] <= 3 * counts[few]:
        return ""
    return (
        f"the classes are unbalanced: {classes[few]} has {counts[few]} training images, {classes[many]} has "
        f"{counts[many]}; top-1 counts every image, so read it beside that of each class"
    )


def write_split(train: ImageList, val: ImageList, path: Path) -> None:
    """Write which image is in which part: a CSV file with image, label and split that :func:`open_csv` reads."""
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer = csv.writer(text)
        writer.writerow(("image", "label", "split"))
        for name, part in (("train", train), ("val", val)):
            writer.writerows((sample, part.classes[label], name) for sample, label in part.samples)
        text.detach()


def _image_folder(path: Path) -> ImageList:
    try:
        found = ImageFolder(str(path), loader=read_rgb)
    except (FileNotFoundError, OSError) as error:
        raise UserError(
            f"data.root: {path.resolve()} must hold train/ and val/ (or validation/, valid/, test/), each with "
            f"one folder of images per class, or the class folders themselves: {error}"
        ) from error
    return ImageList(found.samples, found.classes)


def _place(path: str, root: Path, seed: int) -> float:
    """Map an image to a number in [0, 1) by its path below the root."""
    name = Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path
    digest = hashlib.sha256(f"{seed}\n{name}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _column(choices: Sequence[str], names: Sequence[str], path: Path) -> str:
    found = next((name for name in names if name and name.lower() in choices), None)
    if found is None:
        raise UserError(
            f"{path} has no column {choices[0]} (or {', '.join(choices[1:])}); it has {', '.join(names)}"
        )
    return found
