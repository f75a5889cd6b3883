"""Tiny data sets in the layouts people have, cut out of the demo set."""

import shutil
from pathlib import Path


def class_folders(demo: Path, root: Path, train: int = 4, val: int = 2) -> Path:
    """Copy a few images of each class into train/ and val/."""
    for part, count in (("train", train), ("val", val)):
        for folder in sorted((demo / "classification" / part).iterdir()):
            target = root / part / folder.name
            target.mkdir(parents=True)
            for path in sorted(folder.glob("*.jpg"))[:count]:
                shutil.copy(path, target)
    return root
