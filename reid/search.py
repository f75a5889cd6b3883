"""``python -m reid.search RUN QUERY GALLERY``: who in the gallery looks like the query?

QUERY is a photograph or a folder of them; GALLERY a folder, or an .npz of ``python -m reid.extract``.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UserError, guard, one_line
from reid.extract import ExtractConfig, embed_paths, fingerprint, photographs

if TYPE_CHECKING:
    from torch import Tensor

    from reid.trained import Trained

PROG = "python -m reid.search"


@dataclass(frozen=True)
class SearchConfig:
    """Rank a gallery for query photographs.

    Attributes:
        checkpoint: a .pth of reid.train, or its run folder.
        query: a photograph, or a folder of them.
        gallery: a folder, or an .npz that reid.extract wrote with the same network.
        top: photographs to list for each query.
        threshold: list only those at least as similar (cosine); -1 lists all.
        json_file: also write the lists here.
        picture: also draw them to this PNG.
        flip: add the features of the mirrored images.
        batch_size: images per batch.
        workers: data processes.
        device: auto, cpu, cuda, mps.
    """

    checkpoint: str
    query: str
    gallery: str
    top: int = 10
    threshold: float = -1.0
    json_file: str = ""
    picture: str = ""
    flip: bool = False
    batch_size: int = 128
    workers: int = 2
    device: str = "auto"


def _gallery(trained: Trained, config: SearchConfig) -> tuple[Tensor, list[Path]]:
    import numpy as np
    import torch

    place = Path(config.gallery)
    if place.suffix != ".npz":
        paths = photographs(place)
        return embed_paths(trained, paths, _embedding(config)), paths
    try:
        with np.load(place, allow_pickle=False) as file:
            features, names, network, flip = (file[key] for key in ("features", "paths", "network", "flip"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"gallery: {place} was not written by reid.extract: {one_line(error)}") from error
    whole = features.ndim == 2 and features.dtype == np.float32 and names.shape == features.shape[:1]
    if not whole or not len(names) or not np.isfinite(features).all():
        raise UserError(f"gallery: {place} is damaged: {features.dtype} {features.shape}, {names.shape} paths")
    if str(network) != str(fingerprint(trained)):
        raise UserError(f"gallery: {place} holds features of another network: run reid.extract with this one")
    if bool(flip) != config.flip:
        raise UserError(f"gallery: {place} was extracted with --flip {str(bool(flip)).lower()}: say the same here")
    return torch.from_numpy(features), [Path(str(name)) for name in names]


def search(config: SearchConfig) -> list[dict[str, Any]]:
    """Rank the gallery for every query; print, write and draw.

    Args:
        config: of the command.

    Returns:
        One dict a query: query, and matches of path and similarity, best first.

    Raises:
        UserError: no images, features of another network, or top below 1.
    """
    from engine.checkpoint import check_targets
    from engine.ranges import within
    from reid.trained import load_trained

    within(config, top=(1, None), batch_size=(1, None), workers=(0, None), threshold=(-1, None))
    check_targets(config.json_file, config.picture, inputs=(config.query, config.gallery))
    trained = load_trained(config.checkpoint)
    queries = photographs(Path(config.query))
    gallery_GD, paths = _gallery(trained, config)
    query_QD = embed_paths(trained, queries, _embedding(config))
    lists = []
    for start in range(0, len(queries), 256):
        similarity_CG = query_QD[start : start + 256] @ gallery_GD.T
        best_CK = similarity_CG.argsort(dim=1, descending=True, stable=True)[:, : config.top]
        for offset, best_K in enumerate(best_CK.tolist()):
            scores = [(str(paths[i]), float(similarity_CG[offset, i])) for i in best_K]
            kept = [{"path": p, "similarity": round(s, 6)} for p, s in scores if s >= config.threshold]
            lists.append({"query": str(queries[start + offset]), "matches": kept})
    _tell(lists, config)
    return lists


def _tell(lists: list[dict[str, Any]], config: SearchConfig) -> None:
    for each in lists:
        print(each["query"])
        for match in each["matches"]:
            print(f"  {match['similarity']:.4f}  {match['path']}")
    if config.json_file:
        from engine.checkpoint import replacing

        with replacing(Path(config.json_file)) as file:
            file.write((json.dumps(lists, indent=1) + "\n").encode())
    if config.picture:
        from imagesets.contact_sheet import save_picture, sheet
        from reid.report.pictures import QUERY, RIGHT, framed

        rows = [
            [framed(Path(each["query"]), QUERY), *(framed(Path(m["path"]), RIGHT) for m in each["matches"])]
            for each in lists[:20]
        ]
        save_picture(sheet(rows), Path(config.picture))


def _embedding(config: SearchConfig) -> ExtractConfig:
    own = {name: getattr(config, name) for name in ("flip", "batch_size", "workers", "device")}
    return ExtractConfig(config.checkpoint, config.gallery, "", **own)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and search; returns the exit code."""

    def command() -> None:
        from engine.command import parse, with_positional

        arguments = with_positional(argv, "checkpoint", "query", "gallery")
        search(parse(SearchConfig, arguments, prog=PROG, description=str(__doc__)))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
