"""Files that are written whole or not at all."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from engine.errors import UserError, one_line


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside its place and move it there at the end; a failure leaves the old file intact.

    Args:
        path: the file; its folder is made, links are followed.

    Yields:
        A binary file to write to.

    Raises:
        UserError: the file cannot be written (disk full, no permission), or is a folder, device or pipe.
    """
    path = check_target(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot write {path}: {one_line(error)}; an older file is unchanged") from error
    finally:
        with suppress(OSError):  # it was moved, or its folder is not a folder
            temporary.unlink()


def check_target(path: Path) -> Path:
    """See whether a file could be written, before the work that makes its content.

    Args:
        path: the file.

    Returns:
        The file, links followed.

    Raises:
        UserError: it is a folder, device or pipe, or in a place where nothing can be written.
    """
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            raise UserError(f"cannot write {path}: it is not a regular file: give another name")
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"cannot write {path}: {one_line(error)}") from error
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {path}: {folder} is not a folder that can be written to")
    return path


def check_targets(*paths: str, inputs: Sequence[str] = ()) -> None:
    """See whether the files that a command will write could be written; "" means none.

    Args:
        paths: to write.
        inputs: that the command reads.

    Raises:
        UserError: see :func:`check_target`; two of them, or one and an input, are the same file.
    """
    seen = {Path(name).resolve() for name in inputs if name}
    for name in filter(None, paths):
        path = check_target(Path(name))
        if path in seen:
            raise UserError(f"cannot write {name}: it is also read or written by this command: give another name")
        seen.add(path)


def write_json(content: Any, path: str | Path, *, indent: int | None = 1) -> None:
    """Write a JSON file, or leave the old one as it is.

    Args:
        content: plain values; NaN becomes null, as strict JSON has no NaN.
        path: the file; "" writes nothing.
        indent: spaces per level; None writes one line.

    Raises:
        UserError: the file cannot be written.
    """
    if str(path) in ("", "."):
        return
    text = json.dumps(_finite(content), indent=indent, ensure_ascii=False, allow_nan=False)
    with replacing(Path(path)) as file:
        file.write((text + "\n").encode())


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
