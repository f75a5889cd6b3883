"""Exact ranks of the positives, without sorting the gallery.

All metrics of the Market-1501 protocol follow from the ranks of each query's positives, about fifteen of them.
The gallery is grouped by identity once, so that a query's own identity is one slice; distances are computed block
by block. Shape legend: Q queries, G gallery, D features, C queries of a block, N positives in total.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from reid.evaluation.features import Ints, Labels


class Block(NamedTuple):
    """Distances of some queries to the whole gallery.

    Attributes:
        start: index of the first query.
        distance_CG: float32; columns are in the grouped order.
        own: for each query, the slice of its identity.
        same_camera: within that slice, mask of the images from the query's own camera, which do not count.
        order_G: gallery index of each column.
    """

    start: int
    distance_CG: Any
    own: list[slice]
    same_camera: list[Any]
    order_G: Ints


class Ranks(NamedTuple):
    """Ranks of each query's positives.

    Attributes:
        query_N: query index of every positive, ascending.
        rank_N: its 1-based rank among the valid gallery, ascending within a query.
        num_queries: Q.
    """

    query_N: Ints
    rank_N: Ints
    num_queries: int


Visit = Callable[[Block], None]


def feature_blocks(
    query_QD: Tensor, gallery_GD: Tensor, labels: Labels, *, metric: str = "cosine", chunk: int = 256
) -> Iterator[Block]:
    """Stream distances between features.

    Args:
        query_QD: float32, on any device.
        gallery_GD: float32, on the same device.
        labels: identities and cameras of both.
        metric: cosine, or euclidean (squared, up to a constant per query: the ranks are the same).
        chunk: number of queries per block; extra memory is chunk x G floats and one copy of the gallery.

    Yields:
        Blocks in query order.

    Raises:
        ValueError: unknown metric.
    """
    if metric not in ("cosine", "euclidean"):
        raise ValueError(f"metric must be cosine or euclidean, got {metric!r}")
    order_G = np.argsort(labels.gallery_ids, kind="stable")
    grouped_GD = gallery_GD[torch.from_numpy(order_G).to(gallery_GD.device)]
    squares_G = None
    if metric == "cosine":
        grouped_GD, query_QD = _scaled_in_place(grouped_GD), unit(query_QD)
    else:
        # Shift and scale do not change the order but can lose digits; these two keep equal distances equal.
        centre_D = grouped_GD[0].clone()
        grouped_GD, query_QD = grouped_GD.sub_(centre_D), query_QD - centre_D
        scale = power_of_two(torch.maximum(_largest(grouped_GD).amax(), _largest(query_QD).amax()))
        grouped_GD, query_QD = grouped_GD.div_(scale), query_QD / scale
        squares_G = grouped_GD.square().sum(1)

    def rows(start: int) -> Any:
        some_CD = query_QD[start : start + chunk]
        if squares_G is None:
            return products(some_CD, grouped_GD).neg_().cpu().numpy()
        return products(some_CD, grouped_GD).mul_(-2).add_(squares_G).cpu().numpy()

    return _blocks(rows, labels, order_G, chunk)


def unit(features_ND: Tensor) -> Tensor:
    """Scale rows to length 1, whatever their magnitude; a zero row stays zero.

    Args:
        features_ND: float32.

    The magnitude is divided out first, so that squares neither overflow nor underflow.
    """
    return _scaled_in_place(features_ND.clone())


def _scaled_in_place(own_ND: Tensor) -> Tensor:
    """Do the same as :func:`unit` in place: another copy would take 0.7 GB at MSMT17's size."""
    own_ND.div_(power_of_two(_largest(own_ND)))
    return own_ND.div_(own_ND.norm(dim=1, keepdim=True).clamp_min_(1e-12))


def _largest(features_ND: Tensor) -> Tensor:
    return torch.linalg.vector_norm(features_ND, float("inf"), dim=1, keepdim=True)


def power_of_two(values: Tensor) -> Tensor:
    """Return the power of two just above each value (1 for 0); dividing by it loses no digits.

    Args:
        values: non-negative values.
    """
    exponent = torch.frexp(values).exponent
    return torch.ldexp(torch.ones_like(values), exponent.clamp(-126, 127))


def products(query_CD: Tensor, gallery_GD: Tensor, tile: int = 2048) -> Tensor:
    """Multiply queries by the gallery in tiles, which is faster on a CPU (benchmarks/reid_eval.py).

    Args:
        query_CD: float32.
        gallery_GD: float32.
        tile: number of gallery rows at a time; a tile fits in the cache.

    Returns:
        products_CG: dot products.
    """
    return torch.cat([query_CD @ some_TD.T for some_TD in gallery_GD.split(tile)], 1)


def matrix_blocks(distance_QG: Any, labels: Labels, *, chunk: int = 256) -> Iterator[Block]:
    """Stream an existing distance matrix, e.g. a re-ranked one.

    Args:
        distance_QG: array or tensor, columns in gallery order.
        labels: labels of its rows and columns.
        chunk: number of queries per block.

    Yields:
        Blocks in query order.
    """
    order_G = np.argsort(labels.gallery_ids, kind="stable")
    matrix_QG = np.asarray(distance_QG)
    return _blocks(lambda start: matrix_QG[start : start + chunk][:, order_G], labels, order_G, chunk)


def _blocks(rows: Callable[[int], Any], labels: Labels, order_G: Ints, chunk: int) -> Iterator[Block]:
    ids_G, cams_G = labels.gallery_ids[order_G], labels.gallery_cams[order_G]
    first_Q, last_Q = (np.searchsorted(ids_G, labels.query_ids, side) for side in ("left", "right"))
    for start in range(0, len(labels.query_ids), chunk):
        some = range(start, min(start + chunk, len(labels.query_ids)))
        own = [slice(first_Q[i], last_Q[i]) for i in some]
        same = [cams_G[visitor] == labels.query_cams[i] for i, visitor in zip(some, own, strict=True)]
        yield Block(start, rows(start), own, same, order_G)


class Ranker:
    """Collect the ranks of the positives, block by block.

    Equal distances keep the gallery's order, as a stable sort would.

    Source: Market-1501 evaluation protocol (Zheng et al., ICCV 2015).
    """

    def __init__(self) -> None:
        self._queries: list[Ints] = []
        self._ranks: list[Ints] = []
        self._count = 0

    def __call__(self, block: Block) -> None:
        """Rank the positives of a block's queries."""
        for offset, (row_G, own, same) in enumerate(
            zip(block.distance_CG, block.own, block.same_camera, strict=True)
        ):
            ranks = _rank_row(row_G, own, ~same, block.order_G)
            self._queries.append(np.full(len(ranks), block.start + offset, np.int64))
            self._ranks.append(ranks)
        self._count += len(block.own)

    def result(self) -> Ranks:
        """Return the ranks of all blocks so far."""
        return Ranks(np.concatenate(self._queries), np.concatenate(self._ranks), self._count)


def _rank_row(row_G: Any, own: slice, positive: Any, order_G: Ints) -> Ints:
    """Rank the positives in ``own`` by counting nearer images; ties are in gallery order."""
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
    return _rank_row_with_ties(row_G, own, positive, order_G)


def _rank_row_with_ties(row_G: Any, own: slice, positive: Any, order_G: Ints) -> Ints:
    valid = np.ones(len(row_G), bool)
    valid[own] = positive
    hit = np.zeros(len(row_G), bool)
    hit[own] = positive
    sequence = np.lexsort((order_G[valid], row_G[valid]))
    return np.flatnonzero(hit[valid][sequence]).astype(np.int64) + 1


def visit(blocks: Iterator[Block], *visitors: Visit) -> None:
    """Pass every block to all visitors, so that the distances are computed only once."""
    for block in blocks:
        for visitor in visitors:
            visitor(block)


def rank_positives(blocks: Iterator[Block]) -> Ranks:
    """Rank the positives of all queries.

    Args:
        blocks: from :func:`feature_blocks` or :func:`matrix_blocks`.

    Source: see :class:`Ranker`.
    """
    ranker = Ranker()
    visit(blocks, ranker)
    return ranker.result()
