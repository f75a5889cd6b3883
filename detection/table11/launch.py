"""Find Detectron2's own, unmodified training scripts."""

import importlib.metadata
from pathlib import Path

from engine.errors import UserError


def train_net(*, lazy: bool = False) -> Path:
    """Return the path of Detectron2's ``tools/train_net.py``.

    Args:
        lazy: that of ``tools/lazyconfig_train_net.py`` instead.

    Raises:
        UserError: Detectron2 is not installed, or not in a form that has the script.

    Source: the redistribution's file list; for a source checkout, tools/ beside the package.
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
        raise UserError(f"Detectron2 is not installed ({error}): make install") from error
    path = Path(detectron2.__file__).parents[1] / "tools" / name
    if not path.is_file():
        raise UserError(f"this Detectron2 has no {path}: clone it and give its tools/{name}")
    return path
