"""Exact k-reciprocal re-ranking without N x N matrices.

The published code holds four dense N x N arrays (9 GB at Market's size). Here tiles of the distance matrix,
each computed once for its rows and columns, give the neighbours; sets are sorted pair keys; encodings are sparse.
Shape legend: Q queries, G gallery, N = Q + G, D features, K neighbours, P pairs.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid.evaluation.features import Ints

Floats = NDArray[np.float32]


class Neighbours(NamedTuple):
    """Nearest images of every image, including itself.

    Attributes:
        index_NK: int64, nearest first.
        squared_NK: squared Euclidean distances of these.
        largest_N: largest squared distance to any image.
    """

    index_NK: Ints
    squared_NK: Floats
    largest_N: Floats


class Sparse(NamedTuple):
    """Rows of a sparse N x N matrix.

    Attributes:
        row_P: int64, ascending.
        column_P: int64, ascending within a row.
        value_P: float32.
    """

    row_P: Ints
    column_P: Ints
    value_P: Any


def rerank(
    query_QD: Tensor,
    gallery_GD: Tensor,
    *,
    k1: int = 20,
    k2: int = 6,
    weight: float = 0.3,
    progress: Callable[[float], None] | None = None,
) -> Floats:
    """Re-rank with k-reciprocal encoding (Zhong et al., with squared distances).

    Args:
        query_QD: float32; rows of length 1 for cosine.
        gallery_GD: the same.
        k1: number of nearest neighbours tested for reciprocity. Half of an odd k1 is rounded to the even
            number, as in the Python ports; MATLAB's original rounds it up.
        k2: number of neighbours over which the encoding is averaged; 1 turns averaging off.
        weight: weight of the original distance, in [0, 1]; 1 gives the original order.
        progress: called with the completed share, in [0, 1].

    Returns:
        distance_QG: Jaccard * (1 - weight) + squared distance / largest of the query * weight.

    Raises:
        ValueError: k1 or k2 is out of range for the number of images, or weight is outside [0, 1].

    Source: Zhong et al., CVPR 2017; zhunzhong07/person-re-ranking (same definition, no shared code). Equally
        distant neighbours are ordered by index.
    """
    features_ND = torch.cat([query_QD, gallery_GD])
    queries, images = len(query_QD), len(features_ND)
    if not 1 <= k2 <= k1 + 1 <= images:
        raise ValueError(f"re-ranking needs 1 <= k2 <= k1 + 1 <= {images} images, got k1 {k1} and k2 {k2}")
    if not 0.0 <= weight <= 1.0:
        raise ValueError(f"weight must be in [0, 1], got {weight}")
    tell = progress or (lambda share: None)
    original_QG, near = nearest(features_ND, k1 + 1, queries, tell)
    pairs = expanded_pairs(near.index_NK, k1)
    encoded = _encode(features_ND, near, pairs, images)
    if k2 > 1:
        encoded = _averaged(encoded, near.index_NK[:, :k2], images)
    return _jaccard_into(original_QG, encoded, queries, images, weight)


def nearest(
    features_ND: Tensor, k: int, queries: int, tell: Callable[[float], None], tile: int = 1024
) -> tuple[Floats, Neighbours]:
    """Find the exact k nearest neighbours of all images, and the query-gallery distances.

    Each tile of the symmetric distance matrix is computed once and used for both its rows and columns. Only its
    entries nearer than the k-th neighbour so far are considered.

    Args:
        features_ND: float32.
        k: number of neighbours, including the image itself.
        queries: Q; the first Q rows are queries.
        tell: called with the completed share, in [0, 1].
        tile: number of rows and columns of a tile.

    Returns:
        original_QG, squared distances divided by the largest one of the query; and the neighbours.
    """
    images, device = len(features_ND), features_ND.device
    squares_N = features_ND.square().sum(1)
    index_NK = torch.zeros((images, k), dtype=torch.int64, device=device)
    squared_NK = torch.full((images, k), torch.inf, device=device)
    largest_N = torch.zeros(images, device=device)
    original_QG = np.empty((queries, images - queries), np.float32)
    starts = range(0, images, tile)
    total, count = len(starts) * (len(starts) + 1) / 2, 0
    for a in starts:
        rows = slice(a, min(a + tile, images))
        for b in range(a, images, tile):
            columns = slice(b, min(b + tile, images))
            tile_AB = torch.addmm(squares_N[columns], features_ND[rows], features_ND[columns].T, alpha=-2)
            tile_AB.add_(squares_N[rows, None]).clamp_min_(0.0)
            if a == b:
                tile_AB.fill_diagonal_(-1.0)  # the image itself comes first, even before its duplicates
            _merge(tile_AB, rows, b, index_NK, squared_NK, largest_N)
            _keep(original_QG, tile_AB, a, b, queries)
            if a != b:
                _merge(tile_AB.T, columns, a, index_NK, squared_NK, largest_N)
            count += 1
            tell(count / total)
    index, squared = index_NK.cpu().numpy(), squared_NK.cpu().numpy()
    order = np.lexsort((index, squared), axis=1)
    index, squared = (np.take_along_axis(array, order, 1) for array in (index, squared))
    largest = largest_N.cpu().numpy()
    largest[largest <= 0] = 1.0  # of constant features: all distances are zero
    neighbours = Neighbours(index, squared.clip(0.0), largest)
    original_QG /= neighbours.largest_N[:queries, None]
    return original_QG, neighbours


def _merge(
    tile_AB: Tensor, rows: slice, offset: int, index_NK: Tensor, squared_NK: Tensor, largest_N: Tensor
) -> None:
    """Merge a tile's entries into the nearest neighbours found so far for its rows."""
    largest_N[rows] = torch.maximum(largest_N[rows], tile_AB.amax(1))
    worst_A = squared_NK[rows].amax(1)
    k = min(squared_NK.shape[1], tile_AB.shape[1])
    better_A = (tile_AB < worst_A[:, None]).sum(1)
    some = (better_A > 0).nonzero()[:, 0]
    if not len(some):
        return
    k = min(k, int(better_A.max()))
    value_SK, at_SK = tile_AB[some].topk(k, dim=1, largest=False)
    mine = some + rows.start
    both_SK = torch.cat([squared_NK[mine], value_SK], 1)
    ids_SK = torch.cat([index_NK[mine], at_SK + offset], 1)
    kept_SK, at_SK = both_SK.topk(squared_NK.shape[1], dim=1, largest=False)
    squared_NK[mine] = kept_SK
    index_NK[mine] = ids_SK.gather(1, at_SK)


def _keep(original_QG: Floats, tile_AB: Tensor, a: int, b: int, queries: int) -> None:
    """Store the part of a tile that lies between queries and gallery."""
    height, width = tile_AB.shape
    last, first = min(queries - a, height), max(queries - b, 0)
    if last > 0 and first < width:
        original_QG[a : a + last, b + first - queries : b + width - queries] = tile_AB[:last, first:].cpu().numpy()


def expanded_pairs(index_NK: Ints, k1: int) -> Ints:
    """List the members of every image's expanded k-reciprocal set.

    Args:
        index_NK: nearest neighbours, nearest first; K = k1 + 1.
        k1: number of nearest neighbours tested for reciprocity.

    Returns:
        Keys ``image * N + member``, ascending.

    Source: Zhong et al., CVPR 2017, Eqs. 3 and 4.
    """
    images, half = len(index_NK), int(np.around(k1 / 2)) + 1
    wide_P, narrow_P = (_reciprocal(index_NK[:, :k]) for k in (k1 + 1, half))
    starts_N = np.searchsorted(narrow_P, np.arange(images + 1) * images)
    sizes_N = np.diff(starts_N)
    image_P, member_P = wide_P // images, wide_P % images
    sizes_P = sizes_N[member_P]
    pair_M = np.repeat(np.arange(len(wide_P)), sizes_P)
    candidate_M = narrow_P[_ranges(starts_N[member_P], starts_N[member_P + 1])] % images
    keys_M = image_P[pair_M] * images + candidate_M
    inside_P = np.bincount(pair_M, _contains(wide_P, keys_M), minlength=len(wide_P))
    joins_P = inside_P > 2 / 3 * sizes_P
    return np.unique(np.concatenate([wide_P, keys_M[joins_P[pair_M]]]))


def _reciprocal(index_NK: Ints) -> Ints:
    """Return the ascending keys of pairs that are neighbours of each other."""
    images, k = index_NK.shape
    row_P, column_P = np.repeat(np.arange(images), k), index_NK.ravel()
    keys_P = np.sort(row_P * images + column_P)
    present_P = _contains(keys_P, column_P * images + row_P)
    return np.sort((row_P * images + column_P)[present_P])


def _contains(sorted_keys: Ints, keys: Ints) -> Any:
    at = np.searchsorted(sorted_keys, keys)
    at[at == len(sorted_keys)] = 0
    return sorted_keys[at] == keys


def _encode(features_ND: Tensor, near: Neighbours, keys_P: Ints, images: int) -> Sparse:
    """Weight the members of every set by their normalised distance; rows sum to one."""
    row_P, column_P = keys_P // images, keys_P % images
    squared_P = _squared(features_ND, near, keys_P, images)
    value_P = np.exp(-(squared_P / near.largest_N[row_P]))
    starts = np.searchsorted(row_P, np.arange(images))
    value_P /= np.add.reduceat(value_P, starts)[row_P]  # every image is in its own set, so no row is empty
    return Sparse(row_P, column_P, value_P.astype(np.float32))


def _squared(features_ND: Tensor, near: Neighbours, keys_P: Ints, images: int, chunk: int = 16384) -> Floats:
    """Look up squared distances among the neighbours of either image; compute the missing ones."""
    k = near.index_NK.shape[1]
    row, column = np.repeat(np.arange(images), k), near.index_NK.ravel()
    keys = np.concatenate([row * images + column, column * images + row])
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], np.concatenate([near.squared_NK.ravel()] * 2)[order]
    at = np.minimum(np.searchsorted(keys, keys_P), len(keys) - 1)
    match_P = keys[at] == keys_P
    squared_P = np.where(match_P, values[at], 0.0).astype(np.float32)
    missing = np.flatnonzero(~match_P)
    squares_N = features_ND.square().sum(1)
    for start in range(0, len(missing), chunk):
        some = missing[start : start + chunk]
        a, b = (
            torch.from_numpy(part).to(features_ND.device)
            for part in (keys_P[some] // images, keys_P[some] % images)
        )
        dot = torch.linalg.vecdot(features_ND[a], features_ND[b])
        squared_P[some] = (squares_N[a] + squares_N[b] - 2 * dot).clamp_min(0.0).cpu().numpy()
    return squared_P


def _averaged(encoded: Sparse, index_NK: Ints, images: int) -> Sparse:
    """Average every image's encoding over its nearest images."""
    k = index_NK.shape[1]
    starts_N = np.searchsorted(encoded.row_P, np.arange(images + 1))
    of_M = index_NK.ravel()
    at = _ranges(starts_N[of_M], starts_N[of_M + 1])
    row = np.repeat(np.repeat(np.arange(images), k), np.diff(starts_N)[of_M])
    keys, value = row * images + encoded.column_P[at], encoded.value_P[at]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return Sparse(
        keys[first] // images, keys[first] % images, np.add.reduceat(value[order], first) / np.float32(k)
    )


def _ranges(begin: Ints, end: Ints) -> Ints:
    """Concatenate the integers of many ranges."""
    count = end - begin
    at: Ints = np.repeat(begin - (np.cumsum(count) - count), count) + np.arange(count.sum())
    return at


def _jaccard_into(original_QG: Floats, encoded: Sparse, queries: int, images: int, weight: float) -> Floats:
    """Blend the Jaccard distances of the encodings into the original ones."""
    starts_N = np.searchsorted(encoded.row_P, np.arange(images + 1))
    first = starts_N[queries]
    order = np.argsort(encoded.column_P[first:], kind="stable")  # inverted lists of the gallery's encodings
    holder, values = encoded.row_P[first:][order] - queries, encoded.value_P[first:][order]
    lists_N = np.searchsorted(encoded.column_P[first:][order], np.arange(images + 1))
    original_QG *= np.float32(weight)
    for query in range(queries):
        own = slice(starts_N[query], starts_N[query + 1])
        column, value = encoded.column_P[own], encoded.value_P[own]
        begin, end = lists_N[column], lists_N[column + 1]
        at = _ranges(begin, end)
        smaller = np.minimum(np.repeat(value, end - begin), values[at])
        shared_G = np.bincount(holder[at], smaller, minlength=images - queries).astype(np.float32)
        original_QG[query] += (1 - shared_G / (2 - shared_G)) * np.float32(1 - weight)
    return original_QG
