"""Exact CMC, mAP and mINP from the ranks of the positives, without sorting the gallery.

Everything the Market-1501 protocol reports follows from the ranks of each query's positives, about fifteen of
them. Shape legend: Q queries, G gallery, D features, N all positives of all queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]


class Ranks(NamedTuple):
    """Where each query's positives stand.

    Attributes:
        query_N: query index of every positive, ascending.
        rank_N: its 1-based rank among the valid gallery, ascending within a query.
        num_queries: Q.
    """

    query_N: Ints
    rank_N: Ints
    num_queries: int


def rank_positives(
    query_QD: Tensor,
    gallery_GD: Tensor,
    query_ids: Ints,
    gallery_ids: Ints,
    query_cams: Ints,
    gallery_cams: Ints,
    *,
    chunk: int = 256,
) -> Ranks:
    """Rank the gallery for every query by cosine similarity of unit features.

    A gallery image with the query's identity and the query's camera does not count (it is neither right nor
    wrong). Equal distances keep the gallery's order, as a stable sort would.

    Args:
        query_QD: float32, rows of length 1.
        gallery_GD: float32, rows of length 1.
        query_ids: int64 identities.
        gallery_ids: int64 identities.
        query_cams: int64 cameras.
        gallery_cams: int64 cameras.
        chunk: queries at a time; extra memory is chunk x G floats.

    Returns:
        The ranks.

    Raises:
        ValueError: lengths that do not match, or features that are not finite.

    Source: Market-1501 evaluation protocol (Zheng et al., ICCV 2015).
    """
    _check(query_QD, query_ids, query_cams, "query")
    _check(gallery_GD, gallery_ids, gallery_cams, "gallery")
    order = np.argsort(gallery_ids, kind="stable")  # a query's identity is one slice
    ids, cams = gallery_ids[order], gallery_cams[order]
    first, last = np.searchsorted(ids, query_ids, "left"), np.searchsorted(ids, query_ids, "right")
    sorted_GD = gallery_GD[torch.from_numpy(order)]
    queries, ranks = [], []
    for index, row_G in _distance_rows(query_QD, sorted_GD, chunk):
        own = slice(first[index], last[index])
        found = _rank_row(row_G, own, cams[own] != query_cams[index], order)
        queries.append(np.full(len(found), index, np.int64))
        ranks.append(found)
    return Ranks(np.concatenate(queries), np.concatenate(ranks), len(query_ids))


def _distance_rows(query_QD: Tensor, gallery_GD: Tensor, chunk: int) -> Iterator[tuple[int, Any]]:
    for start in range(0, len(query_QD), chunk):
        block = (query_QD[start : start + chunk] @ gallery_GD.T).neg_().cpu().numpy()
        for offset, row_G in enumerate(block):
            yield start + offset, row_G


def _rank_row(row_G: Any, own: slice, positive: Any, order: Ints) -> Ints:
    """Rank the positives among ``own`` by counting what is nearer, ties by gallery order."""
    same = row_G[own]
    goals = np.sort(same[positive])
    if not len(goals):
        return np.zeros(0, np.int64)
    near = np.sort(row_G[row_G <= goals[-1]])
    below, upto = np.searchsorted(near, goals, "left"), np.searchsorted(near, goals, "right")
    if ((upto - below) == 1).all():
        junk = np.sort(same[~positive])
        ranks: Ints = (below - np.searchsorted(junk, goals, "left") + 1).astype(np.int64)
        return ranks
    return _rank_row_with_ties(row_G, own, positive, order)


def _rank_row_with_ties(row_G: Any, own: slice, positive: Any, order: Ints) -> Ints:
    valid = np.ones(len(row_G), bool)
    valid[own] = positive
    hit = np.zeros(len(row_G), bool)
    hit[own] = positive
    sequence = np.lexsort((order[valid], row_G[valid]))
    return np.flatnonzero(hit[valid][sequence]).astype(np.int64) + 1


def metrics(ranks: Ranks, top: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
    """Turn ranks into the numbers people report, in percent.

    Args:
        ranks: from :func:`rank_positives`.
        top: ranks of the CMC curve to report.

    Returns:
        ``mAP``: mean precision at hits (strong baseline, torchreid, fast-reid). ``mAP_trapezoid``: as the
        Market-1501 MATLAB code. ``mINP``. ``rank1`` and so on. ``valid_queries``: those with a positive; the
        others are left out of all means.

    Raises:
        ValueError: no query has a positive.

    Source: Zheng et al., ICCV 2015; Ye et al., TPAMI 2021 (mINP).
    """
    counts_Q = np.bincount(ranks.query_N, minlength=ranks.num_queries)
    valid = counts_Q > 0
    if not valid.any():
        raise ValueError("no query has a positive in the gallery: same identity from another camera")
    starts_Q = np.cumsum(counts_Q) - counts_Q
    rank_N = ranks.rank_N.astype(np.float64)
    nth_N = np.arange(len(rank_N)) - starts_Q[ranks.query_N] + 1.0
    before_N = np.where(rank_N > 1, (nth_N - 1) / np.maximum(rank_N - 1, 1), 1.0)

    def mean(values_N: Any) -> float:
        sums_Q = np.bincount(ranks.query_N, values_N, minlength=ranks.num_queries)
        return float(100 * (sums_Q[valid] / counts_Q[valid]).mean())

    first = ranks.rank_N[starts_Q[valid]]
    hardest = ranks.rank_N[(starts_Q + counts_Q - 1)[valid]]
    return {
        "mAP": mean(nth_N / rank_N),
        "mAP_trapezoid": mean((nth_N / rank_N + before_N) / 2),
        "mINP": float(100 * (counts_Q[valid] / hardest).mean()),
        **{f"rank{k}": float(100 * (first <= k).mean()) for k in top},
        "valid_queries": int(valid.sum()),
    }


def _check(features: Tensor, ids: Ints, cams: Ints, what: str) -> None:
    if not len(features) == len(ids) == len(cams):
        raise ValueError(f"{what}: {len(features)} features, {len(ids)} ids and {len(cams)} cameras")
    if not bool(features.isfinite().all()):
        raise ValueError(f"{what}: features are not finite")
