"""The demo set: real handwritten digits on crops of two real photographs, made on first use.

Four data sets in the layouts of ImageNet (twice: an easy one for learning from few labels), COCO and Market-1501,
each with ground-truth object masks.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

VERSION = 3
_REPOSITORY = Path(__file__).resolve().parents[2]


def default_root() -> Path:
    """Give the folder the demo set is kept in: ``$KEEPAUGMENT_DEMO``, else ``.demo/data`` of the checkout."""
    return Path(os.environ.get("KEEPAUGMENT_DEMO") or _REPOSITORY / ".demo" / "data")


def ensure(root: Path | None = None, *, seed: int | None = None, small: bool | None = None) -> Path:
    """Return the demo set, making it when it is not there yet (about 15 s, 20 MB).

    Args:
        root: folder to hold it; None: :func:`default_root`.
        seed: the same seed gives the same bytes with the same versions of Pillow and NumPy. None: whatever
            is there, else 0.
        small: a tenth of the images, for tests. None: whatever is there, else False.

    Returns:
        The folder, with ``classification/``, ``few_labels/``, ``detection/`` and ``reid/``.

    Raises:
        ValueError: the folder holds something else.

    Source: scikit-learn's digits (UCI optical recognition of handwritten digits) and sample images.
    """
    root = default_root() if root is None else root
    stamp = root / "demo.json"
    asked = {"version": VERSION, "seed": seed, "small": small}
    there = json.loads(stamp.read_text()) if stamp.is_file() else {}
    if there and all(there.get(name) == value for name, value in asked.items() if value is not None):
        return root
    if root.exists() and not stamp.is_file() and any(root.iterdir()):
        raise ValueError(f"{root} is not empty and holds no demo set: give another folder")
    root.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=root.parent, prefix=f".{root.name}."))
    try:
        _make(building, seed or 0, bool(small))
        made = {"version": VERSION, "seed": seed or 0, "small": bool(small)}
        (building / "demo.json").write_text(json.dumps(made))
        shutil.rmtree(root, ignore_errors=True)
        building.rename(root)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return root


def _make(root: Path, seed: int, small: bool) -> None:
    from imagesets.demo import classification, detection, reid
    from imagesets.demo.paint import Paint

    paint, share = Paint(), 10 if small else 1
    classification.make(root / "classification", paint, seed, {"train": 4000 // share, "val": 1000 // share})
    counts = {"train": 3000 // share, "val": 1000 // share}
    classification.make(root / "few_labels", paint, seed, counts, classification.BRIGHT)
    detection.make(root / "detection", paint, seed, {"train2017": 400 // share, "val2017": 100 // share})
    reid.make(root / "reid", paint, seed, train=60 // share, test=40 // share)
