"""Rank a gallery for query photographs."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.errors import UserError, check_ranges, one_line
from engine.files import check_targets, write_json
from imagesets.contact_sheet import save_picture, sheet
from reid.extract_features import embed_paths, fingerprint, photographs
from reid.load_run import TrainedReid, load_trained
from reid.report.pictures import QUERY, RIGHT, photo_cell
from reid.search import SearchOptions


def _gallery(trained: TrainedReid, options: SearchOptions) -> tuple[Tensor, list[Path]]:
    place = Path(options.gallery)
    if place.suffix != ".npz":
        paths = photographs(place)
        return embed_paths(trained, paths, options), paths
    try:
        with np.load(place, allow_pickle=False) as file:
            features, names, network, flip = (file[key] for key in ("features", "paths", "network", "flip"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise UserError(f"gallery: {place} was not written by reid.extract: {one_line(error)}") from error
    whole = features.ndim == 2 and features.dtype == np.float32 and names.shape == features.shape[:1]
    if not whole or not len(names) or not np.isfinite(features).all():
        raise UserError(f"gallery: {place} is damaged: {features.dtype} {features.shape}, paths {names.shape}")
    if str(network) != str(fingerprint(trained)):
        raise UserError(f"gallery: {place} has features of another network: run reid.extract with this one")
    if bool(flip) != options.flip:
        raise UserError(f"gallery: {place} was extracted with --flip {str(bool(flip)).lower()}: use the same here")
    return torch.from_numpy(features), [Path(str(name)) for name in names]


def search(options: SearchOptions) -> list[dict[str, Any]]:
    """Rank the gallery for every query; print, write and draw the result.

    Returns:
        One dict per query: query, and matches with path and similarity, best first.

    Raises:
        UserError: there are no images, the features are of another network, or an option is out of range.
    """
    check_ranges(options, top=(1, None), batch_size=(1, None), workers=(0, None), threshold=(-1, None))
    check_targets(options.json_file, options.picture, inputs=(options.query, options.gallery))
    trained = load_trained(options.checkpoint)
    queries = photographs(Path(options.query))
    gallery_GD, paths = _gallery(trained, options)
    query_QD = embed_paths(trained, queries, options)
    lists = []
    for start in range(0, len(queries), 256):
        similarity_CG = query_QD[start : start + 256] @ gallery_GD.T
        best_CK = similarity_CG.argsort(dim=1, descending=True, stable=True)[:, : options.top]
        for offset, best_K in enumerate(best_CK.tolist()):
            scores = [(str(paths[i]), float(similarity_CG[offset, i])) for i in best_K]
            kept = [{"path": p, "similarity": round(s, 6)} for p, s in scores if s >= options.threshold]
            lists.append({"query": str(queries[start + offset]), "matches": kept})
    _report(lists, options)
    return lists


def _report(lists: list[dict[str, Any]], options: SearchOptions) -> None:
    for result in lists:
        print(result["query"])
        for match in result["matches"]:
            print(f"  {match['similarity']:.4f}  {match['path']}")
    write_json(lists, options.json_file)
    if options.picture:
        rows = [
            [
                photo_cell(Path(result["query"]), QUERY),
                *(photo_cell(Path(m["path"]), RIGHT) for m in result["matches"]),
            ]
            for result in lists[:20]
        ]
        save_picture(sheet(rows), Path(options.picture))
