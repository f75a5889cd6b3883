"""Finds the demo set, or makes it."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from engine.errors import UserError
from imagesets.demo import classification, detection, reid
from imagesets.demo.__main__ import DemoOptions
from imagesets.demo.paint import Paint

VERSION = 3
_REPOSITORY = Path(__file__).resolve().parents[2]


def default_root() -> Path:
    """Return the folder of the demo set: ``$KEEPAUGMENT_DEMO``, or else ``.demo/data`` in the checkout."""
    return Path(os.environ.get("KEEPAUGMENT_DEMO") or _REPOSITORY / ".demo" / "data")


def ensure(root: Path | None = None, *, seed: int | None = None, small: bool | None = None) -> Path:
    """Return the folder of the demo set, which is made if it does not exist yet (about 15 s, 20 MB).

    Args:
        root: folder to hold it; None means :func:`default_root`.
        seed: the same seed gives the same bytes with the same versions of Pillow and NumPy. None accepts
            an existing set of any seed, and otherwise means 0.
        small: a tenth of the images, for tests. None accepts an existing set, and otherwise means False.

    Returns:
        The folder, with ``classification/``, ``few_labels/``, ``detection/`` and ``reid/``.

    Raises:
        UserError: the folder holds something other than the demo set.

    Source: scikit-learn's digits (UCI optical recognition of handwritten digits) and sample images.
    """
    root = default_root() if root is None else root
    stamp = root / "demo.json"
    required = {"version": VERSION, "seed": seed, "small": small}
    present = json.loads(stamp.read_text()) if stamp.is_file() else {}
    if present and all(present.get(name) == value for name, value in required.items() if value is not None):
        return root
    if root.exists() and not stamp.is_file() and any(root.iterdir()):
        raise UserError(f"{root} is not empty and does not hold the demo set: give another folder")
    root.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}."))
    try:
        _make(building, seed or 0, bool(small))
        content = {"version": VERSION, "seed": seed or 0, "small": bool(small)}
        (building / "demo.json").write_text(json.dumps(content))
        shutil.rmtree(root, ignore_errors=True)
        building.rename(root)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return root


def _make(root: Path, seed: int, small: bool) -> None:
    paint, share = Paint(), 10 if small else 1
    classification.make(root / "classification", paint, seed, {"train": 4000 // share, "val": 1000 // share})
    counts = {"train": 3000 // share, "val": 1000 // share}
    classification.make(root / "few_labels", paint, seed, counts, classification.BRIGHT)
    detection.make(root / "detection", paint, seed, {"train2017": 400 // share, "val2017": 100 // share})
    reid.make(root / "reid", paint, seed, train=60 // share, test=40 // share)


def run(options: DemoOptions) -> None:
    """Make the demo set and print its location; called by ``python -m imagesets.demo``."""
    print(ensure(Path(options.folder) if options.folder else None))
