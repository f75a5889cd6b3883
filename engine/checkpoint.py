"""Checkpoint files, which hold only tensors and plain values and are never left half written."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from engine.errors import UserError, one_line
from engine.files import replacing


def save(content: dict[str, Any], path: Path) -> None:
    """Write a checkpoint; a failure leaves the old one intact.

    Args:
        content: tensors, numbers, strings, and dicts, lists and tuples of them.
        path: file to write.

    Raises:
        UserError: the file cannot be written.
    """
    with replacing(path) as file:
        torch.save(content, file)


def newest(checkpoint_or_run: str | Path) -> Path:
    """Return the path of a checkpoint; a run folder stands for its last.pth."""
    path = Path(checkpoint_or_run)
    return path / "last.pth" if path.is_dir() else path


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU without running any code in it.

    Args:
        path: file to read.

    Returns:
        The content that was passed to :func:`save`.

    Raises:
        UserError: the file is missing or damaged, or needs code to load.
    """
    if not path.is_file():
        raise UserError(f"checkpoint {path} not found")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        what = "holds objects other than tensors" if zipfile.is_zipfile(path) else "was not written by torch.save"
        raise UserError(f"{path} {what}, so it is not a checkpoint of this package") from error
    except (RuntimeError, LookupError, EOFError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged or is not a checkpoint: {one_line(error)}") from error
    _check_sums(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not a checkpoint")
    return content


def _check_sums(path: Path) -> None:
    """Verify the checksums in the file, which torch.load ignores."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            damaged = file.testzip()
        if damaged:
            raise UserError(f"{path} is damaged: the checksum of {damaged} does not match")


def expect(content: dict[str, Any], path: Path, program: str, **kinds: type) -> None:
    """Check that a checkpoint has the fields that a program writes.

    Args:
        content: content of the file.
        path: path of the file, for messages.
        program: program that should have written it.
        kinds: field -> type.

    Raises:
        UserError: a field is missing or has the wrong type.
    """
    for name, kind in kinds.items():
        if name not in content:
            raise UserError(f"{path} was not written by {program}: it has no {name!r}")
        if not isinstance(content[name], kind):
            raise UserError(f"{path} is damaged: its {name!r} has the wrong type: {content[name]!r:.40}")


def load_weights(model: torch.nn.Module, state: dict[str, torch.Tensor], origin: Path) -> None:
    """Load weights strictly and report any mismatch in one line.

    Raises:
        UserError: the names or shapes of the weights do not match the model.
    """
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{origin} is damaged: its weights do not map names to tensors")
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
        raise UserError(f"{origin} has weights of a different architecture: {', '.join(problems)}")
    model.load_state_dict(state)
