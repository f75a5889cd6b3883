"""Read data sets: Market-1501, DukeMTMC-style and MSMT17 folders, class folders and CSV files."""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import UserError, as_user_error, one_line
from imagesets.demo.make import ensure
from keepcore.build import choose
from reid.config import Data

TRAIN, QUERY, GALLERY = "bounding_box_train", "query", "bounding_box_test"
PARTS = ("train", "query", "gallery")
JUNK, DISTRACTOR = -1, 0
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
# example of a file name, pattern with person and camera
_MARKET = ("0002_c1s1_000451_03.jpg", re.compile(r"(-1|\d{4})_c(\d)s\d_\d{6}_\d{2}\.(?:jpg|png)(?:\.jpg)?"))
_DUKE = ("0001_c2_f0046182.jpg", re.compile(r"(-1|\d{4})_c(\d+)_f?\d+\.(?:jpg|png)"))
_MSMT = ("0000_000_01_0303morning_0008_0.jpg", re.compile(r"(\d{4})_\d{3}_(\d{2})_\w+\.jpg"))


class Photo(NamedTuple):
    """One person crop: file, identity and camera (as in the file name)."""

    path: Path
    person: int
    camera: int


class ReidSet(NamedTuple):
    """The parts of a data set.

    Attributes:
        train: labelled photos.
        query: photos to search for.
        gallery: photos to search, with distractors (id 0) but without junk (id -1).
        people: ids of the training part, sorted; an id's index is its class label.
        has_cameras: whether cameras are known; otherwise photos from a query's camera are not left out.
        junk: number of gallery photos that were left out.
        more: further photos of the queries (``gt_bbox``), for the multi-query protocol.
    """

    train: list[Photo]
    query: list[Photo]
    gallery: list[Photo]
    people: list[int]
    has_cameras: bool = True
    junk: int = 0
    more: tuple[Photo, ...] = ()


def open_source(data: Data) -> ReidSet:
    """Read a data set.

    Args:
        data: options with dataset and root.

    Raises:
        UserError: unknown data set, missing folder, wrong file name, or no identity in both query and gallery.

    Source: the readme files of the data sets.
    """
    root = Path(data.root).expanduser()
    if data.dataset == "demo":
        root = ensure(None if root == Path() else root) / "reid"
    with as_user_error():
        open_set = choose(OPENERS, data.dataset, "data.dataset")
    source = open_set(root, data)
    if not {photo.person for photo in source.query} & {photo.person for photo in source.gallery}:
        raise UserError(f"data.root: query and gallery of {root} have no identity in common: check the identities")
    return source


def assemble(
    train: list[Photo],
    query: list[Photo],
    gallery: list[Photo],
    *,
    has_cameras: bool = True,
    more: Iterable[Photo] = (),
) -> ReidSet:
    """Remove junk and list the people.

    Source: Market-1501's readme (id -1 has zero influence); reid-strong-baseline data/datasets/market1501.py.
    """
    kept = [[photo for photo in part if photo.person != JUNK] for part in (train, query, gallery)]
    people = sorted({photo.person for photo in kept[0]})
    junk = len(gallery) - len(kept[2])
    return ReidSet(*kept, people, has_cameras, junk, tuple(photo for photo in more if photo.person != JUNK))


def read_folder(folder: Path, looks: str, pattern: re.Pattern[str]) -> list[Photo]:
    """List the photos of one folder by name.

    Args:
        folder: folder of the images.
        looks: example of a file name, for the error message.
        pattern: pattern of the whole file name, with the groups person and camera.

    Returns:
        Photos sorted by name.

    Raises:
        UserError: the folder is missing or empty, or the name of an image does not match.

    Source: Market-1501's readme.
    """
    if not folder.is_dir():
        raise UserError(f"data.root: folder {folder.resolve()} not found; expected {TRAIN}/, {QUERY}/, {GALLERY}/")
    photos = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        match = pattern.fullmatch(path.name)
        if match is None:
            raise UserError(f"{path}: expected a file name such as {looks}; check data.dataset and the folder")
        photos.append(Photo(path, int(match[1]), int(match[2])))
    if not photos:
        raise UserError(f"{folder} contains no images")
    return photos


def market(root: Path) -> ReidSet:
    """Read Market-1501: three folders, and ``gt_bbox`` if it exists.

    Source: Market-1501's readme.
    """
    parts = [read_folder(root / part, *_MARKET) for part in (TRAIN, QUERY, GALLERY)]
    return assemble(*parts, more=read_folder(root / "gt_bbox", *_MARKET) if (root / "gt_bbox").is_dir() else ())


def duke(root: Path) -> ReidSet:
    """Read folders with the file names of DukeMTMC-reID; the data set itself was withdrawn by its authors.

    Source: the file names of DukeMTMC-reID.
    """
    return assemble(*(read_folder(root / part, *_DUKE) for part in (TRAIN, QUERY, GALLERY)))


def msmt17(root: Path, *, with_val: bool = False) -> ReidSet:
    """Read MSMT17: images of train and test, and four lists.

    Args:
        root: MSMT17_V1 or MSMT17_V2, or the folder that contains one of them.
        with_val: also train on the validation list.

    Returns:
        The parts. The lists number the identities of training and of test from 0; here all differ, none is 0.

    Raises:
        UserError: the lists are missing or malformed.

    Source: the readme of MSMT17_V1; KaiyangZhou/deep-person-reid torchreid/data/datasets/image/msmt17.py, which
        leaves the validation list out, as fast-reid and the strong baseline do.
    """
    base = next((folder for folder in _msmt_folders(root) if (folder / "list_train.txt").is_file()), None)
    if base is None:
        raise UserError(
            f"data.root: {root.resolve()}/list_train.txt not found; expected MSMT17's lists, train/ and test/"
        )
    second = (base / "mask_train_v2").is_dir()
    folders = {part: base / (f"mask_{part}_v2" if second else part) for part in ("train", "test")}
    names = ("train", "val") if with_val else ("train",)
    train = [photo for name in names for photo in _msmt_list(base / f"list_{name}.txt", folders["train"], 1)]
    first = 1 + max((photo.person for photo in train), default=0)
    query, gallery = (
        _msmt_list(base / f"list_{name}.txt", folders["test"], first) for name in ("query", "gallery")
    )
    return assemble(train, query, gallery)


def _msmt_folders(root: Path) -> list[Path]:
    return [root, root / "MSMT17_V1", root / "MSMT17_V2"]


def _msmt_list(path: Path, folder: Path, first: int) -> list[Photo]:
    if not path.is_file():
        raise UserError(f"data.root: {path} not found")
    photos = []
    with _text(path) as file:
        lines = file.read().splitlines()
    for number, line in enumerate(lines, 1):
        name, _, person = line.strip().rpartition(" ")
        match = _MSMT[1].fullmatch(Path(name).name)
        if match is None or not person.isdecimal():
            raise UserError(f"{path}, line {number}: expected e.g. '0000/{_MSMT[0]} 0', got {line!r}")
        photos.append(Photo(folder / name, first + int(person), int(match[2])))
    return photos


def class_folders(root: Path) -> ReidSet:
    """Read ``{train,query,gallery}/PERSON/IMAGE``, or ``PERSON/CAMERA/IMAGE`` if cameras are known.

    Source: the layout of torchvision's ImageFolder.
    """
    rows = []
    for part in PARTS:
        if not (root / part).is_dir():
            raise UserError(
                f"data.root: folder {(root / part).resolve()} not found; expected train/, query/ and gallery/"
            )
        for path in sorted((root / part).rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
            if path.suffix.lower() in SUFFIXES and not hidden:
                rows.append((part, path, path.relative_to(root / part).parts[:-1]))
    depths = {len(folders) for *_, folders in rows}
    if not rows or not depths <= {1, 2} or len(depths) > 1:
        raise UserError(f"data.root: {root} must consist of PART/PERSON/IMAGE or of PART/PERSON/CAMERA/IMAGE")
    cameras = depths == {2}
    return _numbered([(part, path, f[0], f[1] if cameras else "") for part, path, f in rows], cameras)


def csv_file(path: Path) -> ReidSet:
    """Read a CSV with the columns ``part, path, person`` and, if known, ``camera``.

    ``part`` is train, query or gallery; paths are relative to the file; person and camera are arbitrary text. The
    person -1 is junk.

    Source: similar to the data frames of open-metric-learning.
    """
    if not path.is_file():
        raise UserError(f"data.root: CSV file {path.resolve()} not found")
    with _text(path) as file:
        reader = csv.DictReader(file, strict=True)
        missing = [name for name in ("part", "path", "person") if name not in (reader.fieldnames or ())]
        if missing:
            raise UserError(
                f"{path} has no column {missing[0]!r}: part, path and person are required, camera is optional"
            )
        cameras = "camera" in (reader.fieldnames or ())
        rows = []
        for number, row in enumerate(reader, 2):
            if None in row or None in row.values():
                raise UserError(f"{path}, line {number}: the number of fields differs from that of the header")
            if row["part"] not in PARTS or not row["path"] or not row["person"] or (cameras and not row["camera"]):
                raise UserError(
                    f"{path}, line {number}: part must be one of {', '.join(PARTS)}, and no field may be empty"
                )
            rows.append((row["part"], path.parent / row["path"], row["person"], row["camera"] if cameras else ""))
    return _numbered(rows, cameras)


@contextmanager
def _text(path: Path) -> Iterator[Any]:
    """Open a UTF-8 text file with or without byte order mark; errors name the file."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield file
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text: {one_line(error)}") from error


def _numbered(rows: list[tuple[str, Path, str, str]], has_cameras: bool) -> ReidSet:
    """Number people and cameras in order of their names; ids start at 1, as 0 means distractor."""
    people = {name: i for i, name in enumerate(sorted({row[2] for row in rows} - {str(JUNK)}), 1)} | {
        str(JUNK): JUNK
    }
    cameras = {name: i for i, name in enumerate(sorted({row[3] for row in rows}), 1)}
    parts = {
        part: [Photo(p, people[who], cameras[cam]) for at, p, who, cam in rows if at == part] for part in PARTS
    }
    for part, photos in parts.items():
        if not photos:
            raise UserError(f"data.root: the part {part!r} has no images")
    return assemble(*parts.values(), has_cameras=has_cameras)


OPENERS: dict[str, Callable[[Path, Data], ReidSet]] = {
    "demo": lambda root, data: market(root),
    "market1501": lambda root, data: market(root),
    "dukemtmc": lambda root, data: duke(root),
    "msmt17": lambda root, data: msmt17(root, with_val=data.msmt17_val),
    "folder": lambda root, data: class_folders(root),
    "csv": lambda root, data: csv_file(root),
}


def guess(root: Path) -> str:
    """Detect the layout of a data set from its folder or file.

    Raises:
        UserError: the path does not exist, or its layout is unknown.
    """
    if root.suffix.lower() == ".csv":
        return "csv"
    if any((folder / "list_train.txt").is_file() for folder in _msmt_folders(root)):
        return "msmt17"
    if (root / "gallery").is_dir():
        return "folder"
    if (root / TRAIN).is_dir():
        names = [path.name for path in (root / TRAIN).iterdir() if path.suffix.lower() in SUFFIXES]
        return "dukemtmc" if any(_DUKE[1].fullmatch(name) for name in names) else "market1501"
    if not root.exists():
        raise UserError(f"{root} not found")
    raise UserError(f"the layout of {root} is none of {', '.join(OPENERS)}: set --dataset or correct the folder")
