"""Compute metrics from ranks, averaged and per query. Shapes: N positives, Q queries, V valid queries."""

from typing import Any, NamedTuple

import numpy as np

from reid.evaluation.rank import Ranks


class PerQuery(NamedTuple):
    """Values of the queries that have a positive; the others are left out.

    Attributes:
        query_V: indices of the valid queries.
        ap_V: mean precision at the hits.
        trapezoid_V: average precision as in Market-1501's MATLAB code.
        inp_V: number of positives / rank of the hardest positive.
        first_V: rank of the first positive.
    """

    query_V: Any
    ap_V: Any
    trapezoid_V: Any
    inp_V: Any
    first_V: Any


def per_query(ranks: Ranks) -> PerQuery:
    """Compute every query's values.

    Args:
        ranks: from :func:`reid.evaluation.rank.rank_positives`.

    Raises:
        ValueError: no query has a positive.

    Source: Zheng et al., ICCV 2015 (both conventions of AP); Ye et al., TPAMI 2021 (INP).
    """
    starts_Q, counts_Q, nth_N = _places(ranks)
    valid = counts_Q > 0
    if not valid.any():
        raise ValueError("no query has a positive in the gallery (same identity, another camera)")
    rank_N = ranks.rank_N.astype(np.float64)
    before_N = np.where(rank_N > 1, (nth_N - 1) / np.maximum(rank_N - 1, 1), 1.0)

    def mean_V(values_N: Any) -> Any:
        sums_Q = np.bincount(ranks.query_N, values_N, minlength=ranks.num_queries)
        return sums_Q[valid] / counts_Q[valid]

    return PerQuery(
        query_V=np.flatnonzero(valid),
        ap_V=mean_V(nth_N / rank_N),
        trapezoid_V=mean_V((nth_N / rank_N + before_N) / 2),
        inp_V=counts_Q[valid] / ranks.rank_N[(starts_Q + counts_Q - 1)[valid]],
        first_V=ranks.rank_N[starts_Q[valid]],
    )


def _places(ranks: Ranks) -> tuple[Any, Any, Any]:
    """Return start and number of each query's positives, and each positive's 1-based index in its query."""
    counts_Q = np.bincount(ranks.query_N, minlength=ranks.num_queries)
    starts_Q = np.cumsum(counts_Q) - counts_Q
    return starts_Q, counts_Q, np.arange(len(ranks.rank_N)) - starts_Q[ranks.query_N] + 1.0


def metrics(ranks: Ranks, top: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
    """Average the metrics over the queries, in percent.

    Args:
        ranks: from :func:`reid.evaluation.rank.rank_positives`.
        top: ranks of the CMC curve to report.

    Returns:
        ``mAP``: mean precision at hits (strong baseline, torchreid, fast-reid). ``mAP_trapezoid``: mAP as in the
        Market-1501 MATLAB code. ``mINP``. ``rank1`` etc.: share of queries with a positive at that rank or better.
        ``valid_queries``: number of queries with a positive; the others are left out of all means.

    Raises:
        ValueError: no query has a positive.

    Source: Zheng et al., ICCV 2015; Ye et al., TPAMI 2021 (mINP).
    """
    values = per_query(ranks)
    return {
        "mAP": 100 * float(values.ap_V.mean()),
        "mAP_trapezoid": 100 * float(values.trapezoid_V.mean()),
        "mINP": 100 * float(values.inp_V.mean()),
        **{f"rank{k}": 100 * float((values.first_V <= k).mean()) for k in top},
        "valid_queries": len(values.query_V),
    }


def all_shots(ranks: Ranks, top: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
    """Compute the CMC over all positives, each ranked without the other positives of its query.

    Args:
        ranks: from :func:`reid.evaluation.rank.rank_positives`.
        top: ranks to report.

    Returns:
        ``allshots_rank1`` etc.: share of positives among the first k, in percent; all queries have equal weight.

    Source: Cysu/open-reid reid/evaluation_metrics/ranking.py ("allshots").
    """
    _, counts_Q, nth_N = _places(ranks)
    alone_N = ranks.rank_N - (nth_N - 1)
    weight_N = 1.0 / counts_Q[ranks.query_N] / (counts_Q > 0).sum()
    return {f"allshots_rank{k}": 100 * float(weight_N[alone_N <= k].sum()) for k in top}
