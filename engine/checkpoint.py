"""Checkpoint files: tensors and plain values only, never half written."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from engine.errors import UserError, one_line
from engine.files import replacing


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
        raise UserError(f"checkpoint {path} not found")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = (
            "holds Python objects besides tensors" if zipfile.is_zipfile(path) else "was not written by torch.save"
        )
        raise UserError(f"{path} {what}: not one of our checkpoints") from error
    except (RuntimeError, LookupError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged or not a checkpoint: {one_line(error)}") from error
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
        raise UserError(f"{origin} is damaged: its weights are not tensors by name")
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
