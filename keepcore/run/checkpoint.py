"""Checkpoint files: tensors and plain values only, never half written."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch

from keepcore.run.errors import UserError, one_line


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file beside its place and move it there at the end; a failure leaves the old file intact.

    Args:
        path: the file; its folder is made.

    Yields:
        A binary file to write to.

    Raises:
        UserError: the file cannot be written (disk full, no permission).

    Source: elementary.
    """
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


def save(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint, or leave the old one as it is.

    Args:
        content: tensors, numbers, strings, and dicts, lists and tuples of them.
        path: the file.

    Raises:
        UserError: the file cannot be written.

    Source: elementary.
    """
    with replacing(path) as file:
        torch.save(content, file)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU without running code from it.

    Args:
        path: the file.

    Returns:
        What :func:`save` was given.

    Raises:
        UserError: no such file, a damaged one, or one that needs code to load.

    Source: elementary.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(f"{path} holds Python objects besides tensors: not one of our checkpoints") from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise UserError(f"{path} is damaged or no checkpoint: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a checkpoint")
    return content


def load_weights(model: torch.nn.Module, state: dict[str, torch.Tensor], origin: Path) -> None:
    """Load weights strictly; say what does not fit in one line.

    Raises:
        UserError: missing or unexpected names, or other shapes.

    Source: elementary.
    """
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
