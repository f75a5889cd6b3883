"""Reads .pkl files of Detectron2's model zoo without running code: only NumPy arrays and plain containers."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.errors import UserError

_ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.numeric", "_frombuffer"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
}


class _Code(Exception):
    """The file needs code other than that of arrays."""


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise _Code(f"{module}.{name}")
        return super().find_class(module, name)


def read_pickle(path: Path) -> dict[str, Any]:
    """Read a pickle of arrays.

    Args:
        path: file to read.

    Returns:
        Its content, with arrays, including those in nested dicts, as tensors.

    Raises:
        UserError: the file is damaged, is not a dict, or holds anything but arrays and plain values.

    Source: the model zoo's file format; Python's documentation of restricted unpickling.
    """
    try:
        with path.open("rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
    except _Code as error:
        raise UserError(
            f"{path} needs Python code to load ({error}), which is not run: "
            "save model.state_dict() with torch.save and use that"
        ) from error
    except Exception as error:  # a damaged pickle can raise any exception
        raise UserError(f"{path} is damaged or is not a pickle: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}, not weights")
    return {key: _tensors(value) for key, value in content.items()}


def _tensors(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return torch.from_numpy(np.array(value))  # a writable copy
    return {key: _tensors(item) for key, item in value.items()} if isinstance(value, dict) else value
