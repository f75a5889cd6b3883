"""Find Detectron2's own, unmodified training script."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from keepcore.run.errors import UserError


def train_net() -> Path:
    """Return the path of Detectron2's ``tools/train_net.py``.

    Raises:
        UserError: Detectron2 is not installed, or not in a form that has the script.

    Source: the redistribution's file list; for a source checkout, tools/ beside the package.
    """
    try:
        for file in importlib.metadata.files("sal-detectron2") or []:
            if str(file) == "tools/train_net.py":
                return Path(str(file.locate()))
    except importlib.metadata.PackageNotFoundError:
        pass
    try:
        import detectron2
    except ImportError as error:
        raise UserError(f"Detectron2 is not installed ({error}): make install") from error
    path = Path(detectron2.__file__).parents[1] / "tools" / "train_net.py"
    if not path.is_file():
        raise UserError(f"this Detectron2 has no {path}: clone it and give its tools/train_net.py")
    return path
