"""Checkpoint files: tensors and plain values only, never half written."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

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
        with suppress(OSError):  # it was moved, or its folder is none
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
            raise UserError(f"cannot write {path}: it is no regular file: give another name")
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"cannot write {path}: {one_line(error)}") from error
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"cannot write {path}: {folder} is no folder that can be written to")
    return path


def check_targets(*paths: str, inputs: Sequence[str] = ()) -> None:
    """See whether the files that a command will write could be written; "" is none.

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


def save(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, or leave the old one as it is.

    Args:
        content: tensors, numbers, strings, and dicts, lists and tuples of them.
        path: the file.

    Raises:
        UserError: the file cannot be written.
    """
    with replacing(path) as file:
        torch.save(content, file)


def newest(checkpoint_or_run: str | Path) -> Path:
    """Give the checkpoint that a file or a run folder stands for: of a folder its last.pth."""
    path = Path(checkpoint_or_run)
    return path / "last.pth" if path.is_dir() else path


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU without running code from it.

    Args:
        path: the file.

    Returns:
        What :func:`save` was given.

    Raises:
        UserError: no such file, a damaged one, or one that needs code to load.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = "holds Python objects besides tensors" if zipfile.is_zipfile(path) else "is no file of torch.save"
        raise UserError(f"{path} {what}: not one of our checkpoints") from error
    except (RuntimeError, LookupError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged or no checkpoint: {one_line(error)}") from error
    _check_sums(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a checkpoint")
    return content


def _check_sums(path: Path) -> None:
    """Torch reads weights without looking at the file's check sums."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        if damaged:
            raise UserError(f"{path} is damaged: {damaged} has another check sum than when it was written")


def expect(content: dict[str, Any], path: Path, program: str, **kinds: type) -> None:
    """Check that a checkpoint has the fields that a program writes.

    Args:
        content: of the file.
        path: for messages.
        program: that should have written it.
        kinds: field -> type.

    Raises:
        UserError: one is missing or of another type.
    """
    for name, kind in kinds.items():
        if name not in content:
            raise UserError(f"{path} was not written by {program}: it has no {name!r}")
        if not isinstance(content[name], kind):
            raise UserError(f"{path} is damaged: its {name!r} is {content[name]!r:.40}")


def load_weights(model: torch.nn.Module, state: dict[str, torch.Tensor], origin: Path) -> None:
    """Load weights strictly; say what does not fit in one line.

    Raises:
        UserError: missing or unexpected names, or other shapes.
    """
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{origin} is damaged: its weights are no tensors by name")
    own = model.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{k} {tuple(state[k].shape)} instead of {tuple(own[k].shape)}"
        for k in own.keys() & state.keys()
        if own[k].shape != state[k].shape
    ]
    problems = [
        f"{len(names)} {what} (e.g. {names[0]})"
        for what, names in (("missing", missing), ("unexpected", extra), ("of another shape", sorted(shapes)))
        if names
    ]
    if problems:
        raise UserError(f"{origin} is of another architecture: {', '.join(problems)} weights")
    model.load_state_dict(state)
