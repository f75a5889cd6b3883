"""Reads all common forms of checkpoints: timm, torchvision, Lightning, DDP, compiled, averaged, safetensors."""

import argparse
import hashlib
import pickle
import re
import warnings
import zipfile
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path, PosixPath
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engine import checkpoint
from engine.errors import UserError, one_line
from networks.hub_config import HUB_WEIGHTS, read_hub_config
from networks.metadata import CheckpointMetadata
from networks.pickles import read_pickle

RAW_KEYS = ("state_dict", "model", "model_state_dict", "model_state", "net")
EMA_KEYS = ("state_dict_ema", "model_ema", "ema", "ema_state_dict")
PREFIXES = ("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "_fsdp_wrapped_module.")
# What the arguments stored beside weights are often made of. Loading them runs no code.
NUMPY_KINDS = (np.float16, np.float32, np.float64, np.int32, np.int64, np.bool_, np.uint8)
HARMLESS_TYPES: list[Any] = [
    argparse.Namespace,
    (PosixPath, "pathlib.PosixPath"),
    (PosixPath, "pathlib._local.PosixPath"),  # Python 3.13's name
    np.dtype,
    (np._core.multiarray.scalar, "numpy._core.multiarray.scalar"),
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # before NumPy 2
    *(type(np.dtype(kind)) for kind in NUMPY_KINDS),
]
_METADATA = ("arch", "architecture", "input", "options", "classes", "augment")
_ROOT = re.compile(r"((?:.*\.)?)(?<!\d\.)conv1\.(?:0\.)?weight")


class Loaded(NamedTuple):
    """Weights and what the file records about them.

    Attributes:
        state: name -> tensor, without wrapper prefixes.
        key: key in the file under which they were found.
        prefix: prefix that was stripped from the names.
        arch: architecture name in the file, or "".
        mean, std: normalisation, of values in [0, 1]; ImageNet's if the file has none.
        sha256: SHA-256 of the file.
        augment: augmentation used in training, e.g. "KeepCutMix", "CutMix", "plain"; "" if unknown.
        notes: choices made in reading that the user should know about.
    """

    state: dict[str, Tensor]
    key: str
    prefix: str
    arch: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    sha256: str
    augment: str
    notes: tuple[str, ...]


def load(path: Path, use: str = "auto", *, any_options: bool = False, like: Collection[str] = ()) -> Loaded:
    """Read a checkpoint without running code from it.

    Args:
        path: .pth, .pt, .pth.tar, .bin or .safetensors, a run folder, which stands for its last.pth, or a folder
            in timm's hub form.
        use: auto (averaged weights if there are both), ema, raw, or a top-level key.
        any_options: also accept networks that timm options have changed.
        like: weight names of the network to fill, which select one of several networks in the file. Without
            them, the first ResNet is used.

    Returns:
        The weights.

    Raises:
        UserError: the file is missing, damaged or foreign, lacks the weights, or has a network changed by options.

    Source: the checkpoint forms of timm, torchvision references, Lightning, torch.optim.swa_utils.
    """
    content, path = read_content(path)
    metadata = CheckpointMetadata(content, path)
    state, key, notes = pick_weights(content, use, path)
    if any(name.endswith("stem.conv1.norm.weight") for name in state):
        raise UserError(
            f"{path} is already a Detectron2 checkpoint: use it as MODEL.WEIGHTS "
            "(python -m detection.reverse converts it back)"
        )
    state, prefix, more = _strip_like(state, like) if like else _strip(state, use)
    if not any_options:
        metadata.refuse_options()
    normalisation = metadata.normalisation()
    return Loaded(
        state=state,
        key=key,
        prefix=prefix,
        arch=metadata.arch(),
        mean=normalisation["mean"],
        std=normalisation["std"],
        sha256=digest(path),
        augment=str(content.get("augment", "")),
        notes=(*notes, *more),
    )


def read_content(path: Path) -> tuple[dict[str, Any], Path]:
    """Read everything that a checkpoint holds, with what a config.json beside it adds.

    Args:
        path: see :func:`load`.

    Returns:
        The content, and the path of the file.

    Raises:
        UserError: the file is missing, damaged or foreign.
    """
    path = find(path)
    content = _read(path)
    if path.suffix in (".safetensors", ".bin"):
        content = read_hub_config(path) | content
    return content, path


def find(path: Path) -> Path:
    """Return the checkpoint file for a path; a run folder stands for its last.pth, timm's for its weights.

    Raises:
        UserError: the file does not exist.
    """
    hub = next((path / name for name in HUB_WEIGHTS if (path / name).is_file()), None)
    path = hub or checkpoint.newest(path)
    if not path.is_file():
        raise UserError(f"{path} not found")
    return path


def digest(path: Path) -> str:
    """Compute a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        if path.suffix == ".pkl" and not zipfile.is_zipfile(path):
            return read_pickle(path)
        with torch.serialization.safe_globals(HARMLESS_TYPES), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about the pickle protocol of files that it rejects
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} needs Python code to load (a whole pickled model, or NumPy arrays): "
            "save model.state_dict() with torch.save and convert that"
        ) from error
    except UserError:
        raise
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged or is not a checkpoint: {one_line(error)}") from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path} holds a {type(content).__name__}: save model.state_dict() instead")
    return dict(content)


def _read_safetensors(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:  # type: ignore[no-untyped-call]
            content: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            content |= {key: value for key, value in (file.metadata() or {}).items() if key in _METADATA}
    except SafetensorError as error:
        raise UserError(f"{path} is damaged or not a safetensors file: {error}") from error
    return content


def pick_weights(content: dict[str, Any], use: str, path: Path) -> tuple[dict[str, Tensor], str, tuple[str, ...]]:
    """Choose the averaged or the raw weights of a checkpoint.

    Args:
        content: content of the file.
        use: auto (averaged if there are both), ema, raw, or a top-level key.
        path: path of the file, for messages.

    Returns:
        The state dict, its key in the file, and a note if there were two to choose from.

    Raises:
        UserError: the file holds no such weights.

    Source: the checkpoint forms of timm, torchvision references, Lightning, torch.optim.swa_utils.
    """
    states = {key: content[key] for key in (*EMA_KEYS, *RAW_KEYS) if _is_state(content.get(key))}
    averaged, raw = [k for k in EMA_KEYS if k in states], [k for k in RAW_KEYS if k in states]
    candidates = {"auto": averaged + raw, "ema": averaged, "raw": raw}.get(use, [use])
    flat = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not candidates and flat and use in ("auto", "raw"):
        return flat, "(top level)", ()
    key = next((k for k in candidates if _is_state(content.get(k))), None)
    if key is None:
        names = ", ".join(sorted(map(str, content))[:12]) or "nothing"
        others = [str(name) for name, value in content.items() if _is_state(value)]
        hint = f"; --use takes one of: {', '.join(others)}" if others else ""
        raise UserError(
            f"{path} has no {'' if use == 'auto' else use + ' '}weights; its top level holds: {names}{hint}"
        )
    notes = ()
    if averaged and raw and use == "auto":
        notes = (
            f"the file has averaged and raw weights: using the averaged ones ({key}); --use raw takes the others",
        )
    return dict(content[key]), key, notes


def _is_state(value: Any) -> bool:
    tensors = isinstance(value, Mapping) and [key for key, item in value.items() if isinstance(item, Tensor)]
    return bool(tensors) and all(isinstance(key, str) for key in tensors)


def _strip(state: dict[str, Tensor], use: str) -> tuple[dict[str, Tensor], str, tuple[str, ...]]:
    """Remove wrapper prefixes, stacked in any order; choose one network if there are several."""
    state = {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor) and name != "n_averaged"}
    roots = sorted(
        {match[1] for name in state if (match := _ROOT.fullmatch(name))}, key=lambda root: _rank(root, use)
    )
    if roots:
        first = roots[0]
        foreign = tuple(root for root in roots[1:] if root.startswith(first))
        kept = {k.removeprefix(first): v for k, v in state.items() if k.startswith(first)}
        kept = {k: v for k, v in kept.items() if not f"{first}{k}".startswith(foreign)} if foreign else kept
        others = ", ".join(repr(root) for root in roots[1:])
        notes = (f"the weights hold several networks: using {first!r}, not {others}",) if others else ()
        return kept, first, notes
    removed = ""
    while prefix := next((p for p in PREFIXES if state and all(k.startswith(p) for k in state)), ""):
        state = {k.removeprefix(prefix): v for k, v in state.items()}
        removed += prefix
    return state, removed, ()


def _strip_like(state: dict[str, Tensor], like: Collection[str]) -> tuple[dict[str, Tensor], str, tuple[str, ...]]:
    """Remove the prefix that most of the expected names have."""
    expected, votes = set(like), Counter[str]()
    for name in state:
        parts = name.split(".")
        tails = [".".join(parts[start:]) for start in range(len(parts))]
        votes.update(name.removesuffix(tail) for tail in tails if tail in expected)
    if not votes:
        return state, "", ()
    prefix = min(votes, key=lambda p: (-votes[p], len(p), p))
    others = tuple(p for p in votes if p.startswith(prefix) and p != prefix and 2 * votes[p] > votes[prefix])
    own = {name: tensor for name, tensor in state.items() if name.startswith(prefix)}
    if others:
        own = {name: tensor for name, tensor in own.items() if not name.startswith(others)}
    return {name.removeprefix(prefix): tensor for name, tensor in own.items()}, prefix, ()


def _rank(root: str, use: str) -> tuple[bool, bool, int, str]:
    """Sort averaged networks first unless raw ones are requested, then MoCo's query encoder, then the shortest."""
    averaged = bool(re.search(r"(^|[._])(ema|averaged?)([._]|$)", root))
    return averaged == (use == "raw"), "encoder_k" in root or "teacher" in root, len(root), root
