"""Extract the features of the person crops in a folder."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from engine.config import TrainingConfig
from engine.errors import UserError, check_ranges
from engine.files import check_targets, replacing
from engine.setup import build_accelerator
from reid.config import Embedding
from reid.dataset_layouts import SUFFIXES, Photo
from reid.embed import embed
from reid.extract import ExtractOptions
from reid.load_run import TrainedReid, data_options, load_trained


def photographs(place: Path) -> list[Path]:
    """List the images of a folder at any depth, or the single image given.

    Raises:
        UserError: the path does not exist, cannot be read, or contains no images.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise UserError(f"{place} not found")
    if not os.access(place, os.R_OK | os.X_OK):
        raise UserError(f"{place} cannot be read: permission denied")
    paths = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise UserError(f"{place} contains no images")
    return paths


def embed_paths(trained: TrainedReid, paths: Sequence[Path], options: Embedding) -> Tensor:
    """Embed photographs from their paths.

    Args:
        trained: the network.
        paths: paths of the images.
        options: embedding options.

    Returns:
        features_ND: float32 on the CPU, rows of length 1.

    Source: see :func:`reid.embed.embed`.
    """
    accelerator = build_accelerator(TrainingConfig(device=options.device))
    data = data_options(trained, batch_size=options.batch_size, workers=options.workers)
    photos = [Photo(path, 0, 0) for path in paths]
    return embed(trained.model.to(accelerator.device), photos, data, accelerator, flip=options.flip)


def fingerprint(trained: TrainedReid) -> Any:
    """Return a hash of the weights that identifies a network, as a zero-dimensional string array."""
    digest = hashlib.sha256()
    for name, tensor in sorted(trained.model.backbone.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return np.array(digest.hexdigest()[:16])


def extract(options: ExtractOptions) -> None:
    """Embed a folder and write the features.

    Raises:
        UserError: there are no images, an image cannot be read, or the output is not an .npz file.
    """
    out = Path(options.out)
    if out.suffix != ".npz":
        raise UserError(f"out: {out.name} must end in .npz")
    check_ranges(options, batch_size=(1, None), workers=(0, None))
    check_targets(options.out)
    paths, trained = photographs(Path(options.folder)), load_trained(options.checkpoint)
    features_ND = embed_paths(trained, paths, options).numpy()
    with replacing(out) as file:
        names = np.array([str(path) for path in paths])
        np.savez(
            file, features=features_ND, paths=names, flip=np.array(options.flip), network=fingerprint(trained)
        )
    print(f"{out}: {len(paths)} features of {features_ND.shape[1]} numbers")
