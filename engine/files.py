"""Files that are written completely or not at all."""

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
    """Write a file under a temporary name and rename it at the end; a failure leaves the old file intact.

    Args:
        path: file to write; its folder is created and links are followed.

    Yields:
        A binary file to write to.

    Raises:
        UserError: the file cannot be written (disk full, no permission) or is a folder, device or pipe.
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
        raise UserError(f"cannot write {path}: {one_line(error)}; any existing file is unchanged") from error
    finally:
        with suppress(OSError):  # it has been moved, or its parent is not a folder
            temporary.unlink()


def check_target(path: Path) -> Path:
    """Check that a file can be written, before its content is computed.

    Args:
        path: file to write.

    Returns:
        The path with links resolved.

    Raises:
        UserError: the path is a folder, device or pipe, or is in a folder that is not writable.
    """
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():
            raise UserError(f"cannot write {path}: it is not a regular file; give another name")
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"cannot write {path}: {one_line(error)}") from error
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {path}: {folder} is not a writable folder")
    return path


def check_targets(*paths: str, inputs: Sequence[str] = ()) -> None:
    """Check that the files that a command will write can be written; "" means none.

    Args:
        paths: files to write.
        inputs: files that the command reads.

    Raises:
        UserError: see :func:`check_target`; or two files, or a file and an input, are the same.
    """
    seen = {Path(name).resolve() for name in inputs if name}
    for name in filter(None, paths):
        path = check_target(Path(name))
        if path in seen:
            raise UserError(f"cannot write {name}: it is also read or written by this command; give another name")
        seen.add(path)


def write_json(content: Any, path: str | Path, *, indent: int | None = 1) -> None:
    """Write a JSON file; a failure leaves the old one intact.

    Args:
        content: plain values; NaN becomes null, because strict JSON has no NaN.
        path: file to write; "" writes nothing.
        indent: spaces per level; None writes one line.

    Raises:
        UserError: the file cannot be written.
    """
    if str(path) in ("", "."):
        return
    text = json.dumps(finite(content), indent=indent, ensure_ascii=False, allow_nan=False)
    with replacing(Path(path)) as file:
        file.write((text + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is truncated or is not valid JSON.
    """
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid JSON, or is truncated: {error}") from error


def finite(value: Any) -> Any:
    """Replace every NaN and infinity in plain values by None, because strict JSON has neither."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
