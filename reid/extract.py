"""``python -m reid.extract RUN FOLDER OUT.npz``: features of any folder of cropped people."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UserError, guard

if TYPE_CHECKING:
    from torch import Tensor

    from reid.trained import Trained

PROG = "python -m reid.extract"


@dataclass(frozen=True)
class ExtractConfig:
    """Embed the photographs of a folder.

    Attributes:
        checkpoint: a .pth of reid.train, or its run folder.
        folder: of cropped people, searched for images at any depth.
        out: .npz to write: features (N x D, rows of length 1) and paths.
        flip: add the features of the mirrored images.
        batch_size: images per batch.
        workers: data processes.
        device: auto, cpu, cuda, mps.
    """

    checkpoint: str
    folder: str
    out: str
    flip: bool = False
    batch_size: int = 128
    workers: int = 2
    device: str = "auto"


def photographs(place: Path) -> list[Path]:
    """List the images of a folder at any depth, or the one image.

    Raises:
        UserError: no such place, or nothing in it.
    """
    from reid.sources import SUFFIXES

    if place.is_file():
        return [place]
    if not place.is_dir():
        raise UserError(f"{place} does not exist")
    if not os.access(place, os.R_OK | os.X_OK):
        raise UserError(f"{place} cannot be read: no permission")
    found = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise UserError(f"no images in {place}")
    return found


def embed_paths(trained: Trained, paths: Sequence[Path], config: ExtractConfig) -> Tensor:
    """Embed photographs by their paths.

    Args:
        trained: the network.
        paths: of images.
        config: of the command; batch, workers, device and flip count.

    Returns:
        features_ND: float32 on the CPU, rows of length 1.

    Source: see :func:`reid.embed.embed`.
    """
    from engine.config import Run
    from engine.setup import build_accelerator
    from reid.embed import embed
    from reid.sources import Photo

    accelerator = build_accelerator(Run(device=config.device))
    data = trained.data(batch_size=config.batch_size, workers=config.workers)
    photos = [Photo(path, 0, 0) for path in paths]
    return embed(trained.model.to(accelerator.device), photos, data, accelerator, flip=config.flip)


def fingerprint(trained: Trained) -> Any:
    """Tell networks apart by the bytes of their weights: a string array without dimensions."""
    import hashlib

    import numpy as np

    digest = hashlib.sha256()
    for name, tensor in sorted(trained.model.backbone.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return np.array(digest.hexdigest()[:16])


def extract(config: ExtractConfig) -> None:
    """Embed a folder and write the features.

    Args:
        config: of the command.

    Raises:
        UserError: no images, one that cannot be read, or an output that is no .npz.
    """
    import numpy as np

    from engine.checkpoint import check_targets, replacing
    from engine.ranges import within
    from reid.trained import load_trained

    out = Path(config.out)
    if out.suffix != ".npz":
        raise UserError(f"out: {out.name} must end in .npz")
    within(config, batch_size=(1, None), workers=(0, None))
    check_targets(config.out)
    paths, trained = photographs(Path(config.folder)), load_trained(config.checkpoint)
    features_ND = embed_paths(trained, paths, config).numpy()
    with replacing(out) as file:
        names = np.array([str(path) for path in paths])
        np.savez(file, features=features_ND, paths=names, flip=np.array(config.flip), network=fingerprint(trained))
    print(f"{out}: {len(paths)} features of {features_ND.shape[1]} numbers")


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and extract; returns the exit code."""

    def command() -> None:
        from engine.command import parse, with_positional

        arguments = with_positional(argv, "checkpoint", "folder", "out")
        extract(parse(ExtractConfig, arguments, prog=PROG, description=str(__doc__)))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
