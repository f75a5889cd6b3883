"""Combine a query with its nearest gallery images, or with further photographs from its camera."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from reid.evaluation.features import Ints


def expand_queries(
    query_QD: Tensor, gallery_GD: Tensor, count: int, *, alpha: float = 0.0, chunk: int = 256
) -> Tensor:
    """Add each query's nearest gallery features to it (query expansion).

    Args:
        query_QD: float32.
        gallery_GD: float32.
        count: number of neighbours.
        alpha: exponent; neighbours are weighted by similarity ** alpha, and 0 gives the plain average.
        chunk: number of queries processed at a time.

    Returns:
        Q x D, rows of length 1.

    Raises:
        ValueError: count is outside 1..G, or alpha is negative.

    Source: Chum et al., ICCV 2007; Radenovic et al., TPAMI 2019 (alpha).
    """
    if not 1 <= count <= len(gallery_GD) or alpha < 0:
        raise ValueError(f"expand must be in [1, {len(gallery_GD)}] and alpha >= 0, got {count} and {alpha}")
    query_QD, gallery_GD = F.normalize(query_QD), F.normalize(gallery_GD)
    expanded = []
    for some_CD in query_QD.split(chunk):
        similarity_CK, at_CK = (some_CD @ gallery_GD.T).topk(count)
        weight_CK = similarity_CK.clamp_min(0) ** alpha if alpha else torch.ones_like(similarity_CK)
        expanded.append(some_CD + torch.einsum("ck,ckd->cd", weight_CK, gallery_GD[at_CK]))
    return F.normalize(torch.cat(expanded))


def pool_queries(
    query_QD: Tensor, query_ids: Ints, query_cams: Ints, more_MD: Tensor, more_ids: Ints, more_cams: Ints
) -> Tensor:
    """Average further photographs of each query's person from its camera (Market-1501's multi-query).

    Args:
        query_QD: float32.
        query_ids: int64.
        query_cams: int64.
        more_MD: features of ``gt_bbox``.
        more_ids: int64.
        more_cams: int64.

    Returns:
        Q x D: the mean of the unit features of the same identity and camera; a query without any is unchanged.

    Source: Zheng et al., ICCV 2015 (multiple queries, average pooling).
    """
    keys, of_M = np.unique(np.stack([more_ids, more_cams], 1), axis=0, return_inverse=True)
    of_M = of_M.reshape(-1)
    sums_KD = torch.zeros(len(keys), query_QD.shape[1]).index_add_(0, torch.from_numpy(of_M), F.normalize(more_MD))
    place = {tuple(key): index for index, key in enumerate(keys.tolist())}
    at_Q = [place.get(key, -1) for key in zip(query_ids.tolist(), query_cams.tolist(), strict=True)]
    pooled_QD = F.normalize(query_QD).clone()
    with_more = [i for i, at in enumerate(at_Q) if at >= 0]
    pooled_QD[with_more] = F.normalize(sums_KD[[at_Q[i] for i in with_more]])
    return pooled_QD
