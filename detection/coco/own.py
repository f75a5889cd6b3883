"""Data sets with classes of one's own, for an unmodified train_net.py."""

from pathlib import Path
from typing import Any, NamedTuple

from detection.coco.check import problems_of
from detection.coco.data_yaml import read_parts
from detection.coco.folder import names_by_id
from detection.coco.yolo import OnBadBox, common_folder, read_labels
from engine.errors import UserError
from engine.files import read_json, write_json
from imagesets.coco import read_annotations
from networks.weights import digest

PARTS = ("train", "val")
DATASETS = "datasets.json"


class OwnData(NamedTuple):
    """A data set that Detectron2 does not know.

    Attributes:
        annotations: train and val -> COCO annotation file.
        images: train and val -> folder of its images.
        classes: number of classes.
        filled: number of training images with objects, which are those that Detectron2 trains on.
    """

    annotations: dict[str, Path]
    images: dict[str, Path]
    classes: int
    filled: int

    def options(self) -> list[str]:
        """Return the overrides that select the data set and its number of classes.

        Source: detectron2/config/defaults.py.
        """
        keys = {
            f"DATASETS.{kind}": f"('{_name(part)}',)" for kind, part in zip(("TRAIN", "TEST"), PARTS, strict=True)
        }
        keys |= {f"MODEL.{head}.NUM_CLASSES": str(self.classes) for head in ("ROI_HEADS", "RETINANET")}
        return [word for item in keys.items() for word in item]

    def write(self, folder: Path, *, begun: bool) -> Path:
        """Write datasets.json, from which registered_train_net.py registers the parts; return its path.

        Args:
            folder: OUTPUT_DIR.
            begun: whether the folder holds a run, which must have used the same data.

        Raises:
            UserError: the folder's run used another data set.
        """
        path = folder / DATASETS
        digests = self.digests()
        if begun and (not path.is_file() or _digests(read_json(path)) != digests):
            raise UserError(f"{path}: the run was started with other data; give another --output")
        content = {
            _name(part): {
                "annotations": str(self.annotations[part].resolve()),
                "images": str(self.images[part].resolve()),
                "sha256": digests[_name(part)],
            }
            for part in PARTS
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(content, path)
        return path

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each annotation file, by the name that the part is registered under."""
        return {_name(part): digest(self.annotations[part]) for part in PARTS}


def _digests(content: Any) -> dict[str, Any]:
    parts = content if isinstance(content, dict) else {}
    return {name: part.get("sha256") for name, part in parts.items() if isinstance(part, dict)}


def _write(content: dict[str, Any], path: Path, *, begun: bool) -> None:
    if begun and (not path.is_file() or read_json(path) != content):
        raise UserError(f"{path}: the run was started with other data; give another --output")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(content, path, indent=None)


def _name(part: str) -> str:
    return f"own_{part}"


def from_coco(specs: dict[str, str]) -> OwnData:
    """Open a data set given as ``ANNOTATIONS.json:IMAGES`` for train and val, and check it.

    Raises:
        UserError: a part is missing or malformed, or has problems; the message lists the first ones.

    Source: cocodataset.org's format.
    """
    lacking = [part for part in PARTS if not specs.get(part)]
    if lacking:
        raise UserError(f"{lacking[0]}: give --train ANNOTATIONS.json:IMAGES and --val ANNOTATIONS.json:IMAGES")
    annotations, images = {}, {}
    for part in PARTS:
        file, colon, folder = specs[part].rpartition(":")
        if not colon or not file or not folder:
            raise UserError(f"{part}: expected ANNOTATIONS.json:IMAGES, got {specs[part]!r}")
        if not Path(folder).is_dir():
            raise UserError(f"{part}: image folder {folder} not found")
        annotations[part], images[part] = Path(file), Path(folder)
    return _checked(annotations, images)


def from_yolo(
    data_yaml: Path, folder: Path, *, on_bad_box: OnBadBox = "stop", begun: bool = False
) -> tuple[OwnData, list[str]]:
    """Open a YOLO data set and write its annotations in COCO's format; the images stay where they are.

    Args:
        data_yaml: data.yaml with names, train and val.
        folder: folder for train.json and val.json.
        on_bad_box: whether a bad label raises an error or is left out.
        begun: whether the folder belongs to a run that must have used the same data.

    Returns:
        The data set, and one line per part.

    Raises:
        UserError: see :func:`detection.coco.data_yaml.read_parts` and :func:`read_labels`.

    Source: Ultralytics' data set files.
    """
    parts = read_parts(data_yaml)
    roots = {part: common_folder(paths) for part, paths in parts.images.items()}
    sets = {
        part: read_labels(paths, roots[part], parts.names, on_bad_box=on_bad_box)
        for part, paths in parts.images.items()
    }
    files = {part: folder / f"{part}.json" for part in PARTS}
    for part, file in files.items():
        _write(sets[part].content, file, begun=begun)
    return _checked(files, roots), [f"{data_yaml}: {part}: {sets[part].counts()}" for part in PARTS]


def _checked(annotations: dict[str, Path], images: dict[str, Path]) -> OwnData:
    contents = {part: read_annotations(file) for part, file in annotations.items()}
    problems = [
        f"{annotations[part]}: {text}"
        for part in PARTS
        for text in problems_of(contents[part], images[part], decode=True)
    ]
    train, val = (names_by_id(contents[part]["categories"]) for part in PARTS)
    if train != val:
        differing = sorted(train.items() ^ val.items())[0]
        problems.append(f"train and val have different categories, e.g. id {differing[0]} ({differing[1]!r})")
    if not problems and not _filled(contents["train"]):
        problems.append(f"{annotations['train']}: all objects are crowds, on which Detectron2 does not train")
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise UserError(f"the data cannot be trained on: {'; '.join(problems[:5])}{more}")
    return OwnData(annotations, images, len(train), _filled(contents["train"]))


def _filled(content: dict[str, Any]) -> int:
    return len({box["image_id"] for box in content["annotations"] if not box["iscrowd"]})
