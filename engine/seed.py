"""Randomness: one generator per purpose, and the state of all of them for exact resuming."""

import hashlib
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def derive(seed: int, *purpose: object) -> int:
    """Derive an independent seed for a purpose, e.g. ``derive(0, "sampler", epoch)``.

    Args:
        seed: seed of the run.
        *purpose: anything printable; different purposes do not share a stream.

    Returns:
        An integer in [0, 2^63).
    """
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: object) -> torch.Generator:
    """Make a CPU generator for a purpose."""
    return torch.Generator().manual_seed(derive(seed, *purpose))


def seed_process(seed: int, rank: int = 0) -> None:
    """Seed Python, NumPy and torch (weights, Dropout) of this process."""
    random.seed(derive(seed, "python", rank))
    np.random.seed(derive(seed, "numpy", rank) % 2**32)
    torch.manual_seed(derive(seed, "torch", rank))


def random_state(generators: Mapping[str, torch.Generator]) -> dict[str, Any]:
    """Return all random states, as tensors and plain values only."""
    numpy_state = np.random.get_state(legacy=False)
    return {
        "python": random.getstate(),
        "numpy_key": torch.from_numpy(numpy_state["state"]["key"].astype(np.int64)),
        "numpy_pos": int(numpy_state["state"]["pos"]),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "generators": {name: source.get_state() for name, source in generators.items()},
    }


def restore_random_state(state: Mapping[str, Any], generators: Mapping[str, torch.Generator]) -> None:
    """Restore what :func:`random_state` returned."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    fresh = np.random.get_state(legacy=False)
    fresh["state"] = {"key": state["numpy_key"].numpy().astype(np.uint32), "pos": state["numpy_pos"]}
    np.random.set_state(fresh)
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
    for name, source in generators.items():
        source.set_state(state["generators"][name])
