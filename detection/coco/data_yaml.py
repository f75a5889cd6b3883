"""Reads the data.yaml of a YOLO data set: class names, and the images of its parts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from engine.errors import UserError, one_line

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


class YoloParts(NamedTuple):
    """A YOLO data set.

    Attributes:
        names: class names in label order.
        images: train and val -> absolute paths of their images.
    """

    names: tuple[str, ...]
    images: dict[str, list[Path]]


def read_parts(data_yaml: Path) -> YoloParts:
    """Read a data.yaml and list the images of its parts.

    Args:
        data_yaml: file with names, train, val and, optionally, path. A part is a folder of images, a .txt file
            that lists images, or a list of these, relative to path or to the file.

    Raises:
        UserError: the file is damaged, lacks a key, or a part has no images.

    Source: Ultralytics' data set files.
    """
    content = _read(data_yaml)
    names = _names(content, data_yaml)
    bases = _bases(content, data_yaml)
    return YoloParts(names, {key: _part(content, key, bases, data_yaml) for key in ("train", "val")})


def read_names(data_yaml: Path) -> tuple[str, ...]:
    """Read class names from a data.yaml: a list, or a dict with keys from 0.

    Raises:
        UserError: the file is missing, is not valid YAML, or has no names.

    Source: Ultralytics' data set files.
    """
    return _names(_read(data_yaml), data_yaml)


def list_images(folder: Path) -> list[Path]:
    """List the absolute paths of the images in a folder and its subfolders, sorted."""
    return sorted(path.absolute() for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _read(data_yaml: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(data_yaml.read_text())
    except OSError as error:
        raise UserError(f"names: cannot read {data_yaml}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(
            f"names: {data_yaml} is not a YAML file with class names under 'names': {one_line(error)}"
        ) from error
    return content if isinstance(content, dict) else {}


def _names(content: dict[str, Any], data_yaml: Path) -> tuple[str, ...]:
    names = content.get("names")
    try:
        if not isinstance(names, list | dict) or not names:
            raise TypeError(names)
        listed = tuple(str(names[index]) for index in range(len(names)))
    except (KeyError, TypeError) as error:
        raise UserError(f"names: {data_yaml} is not a YAML file with class names under 'names'") from error
    if content.get("nc", len(listed)) != len(listed):
        raise UserError(f"names: {data_yaml} says nc: {content['nc']}, but lists {len(listed)} names")
    return listed


def _bases(content: dict[str, Any], data_yaml: Path) -> list[Path]:
    """Return the folders to which parts may be relative, the most likely first."""
    home, path = data_yaml.resolve().parent, content.get("path")
    return [home / str(path), Path(str(path)).resolve(), home] if path else [home]


def _part(content: dict[str, Any], key: str, bases: Sequence[Path], data_yaml: Path) -> list[Path]:
    entries = content.get(key)
    if not entries:
        raise UserError(f"{data_yaml} has no {key!r}: name the folder of its images")
    paths: list[Path] = []
    for entry in entries if isinstance(entries, list) else [entries]:
        place = _find(str(entry), bases, f"{data_yaml}: {key}")
        paths += list_images(place) if place.is_dir() else _listed(place)
    if not paths:
        raise UserError(f"{data_yaml}: {key}: {entries} holds no images ({', '.join(SUFFIXES)})")
    return list(dict.fromkeys(paths))


def _find(entry: str, bases: Sequence[Path], where: str) -> Path:
    # Exports of Roboflow say ../train/images and mean train/images beside the file.
    tries = [base / name for base in bases for name in dict.fromkeys((entry, entry.removeprefix("../")))]
    for path in tries:
        if path.exists():
            return path.resolve()
    raise UserError(f"{where}: {entry} not found; tried {', '.join(map(str, dict.fromkeys(tries)))}")


def _listed(file: Path) -> list[Path]:
    try:
        lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is neither a folder nor a text file that lists images") from error
    return [(file.parent / line).resolve() for line in lines]
