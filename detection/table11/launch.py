"""Finds Detectron2's own, unmodified training scripts."""

import importlib.metadata
from pathlib import Path

from engine.errors import UserError


def train_net(*, lazy: bool = False) -> Path:
    """Return the path of Detectron2's ``tools/train_net.py``.

    Args:
        lazy: return that of ``tools/lazyconfig_train_net.py`` instead.

    Raises:
        UserError: Detectron2 is not installed, or its installation lacks the script.

    Source: the distribution's file list or, for a source checkout, tools/ beside the package.
    """
    name = "lazyconfig_train_net.py" if lazy else "train_net.py"
    try:
        for file in importlib.metadata.files("sal-detectron2") or []:
            if str(file) == f"tools/{name}":
                return Path(str(file.locate()))
    except importlib.metadata.PackageNotFoundError:
        pass
    try:
        import detectron2
    except ImportError as error:
        raise UserError(f"Detectron2 is not installed ({error}): run make install") from error
    path = Path(detectron2.__file__).parents[1] / "tools" / name
    if not path.is_file():
        raise UserError(f"{path} not found: clone Detectron2 and run its tools/{name}")
    return path
