"""Confidence intervals and paired tests that resample identities, keeping the queries of each together."""

from typing import Any

import numpy as np

from reid.evaluation.features import Ints
from reid.evaluation.metrics import PerQuery


def values_of(values: PerQuery) -> dict[str, Any]:
    """Return each query's contribution to the metrics, in percent."""
    return {
        "mAP": 100 * values.ap_V,
        "mAP_trapezoid": 100 * values.trapezoid_V,
        "mINP": 100 * values.inp_V,
        "rank1": 100.0 * (values.first_V <= 1),
    }


def _resampled(values_V: Any, ids_V: Ints, draws_RI: Any) -> Any:
    """Average over the queries of every resample."""
    _, of_V = np.unique(ids_V, return_inverse=True)
    sums_I = np.bincount(of_V, values_V)
    counts_I = np.bincount(of_V)
    return (draws_RI @ sums_I) / (draws_RI @ counts_I)


def _draws(ids_V: Ints, resamples: int, seed: int) -> Any:
    identities = len(np.unique(ids_V))
    rng = np.random.default_rng(seed)
    return rng.multinomial(identities, np.full(identities, 1 / identities), size=resamples).astype(np.float64)


def intervals(
    values: PerQuery, query_ids: Ints, *, resamples: int = 2000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Bootstrap 95 % confidence intervals over identities.

    Args:
        values: values of the valid queries.
        query_ids: identities of all queries.
        resamples: number of bootstrap samples.
        seed: seed of the resampling.

    Returns:
        Metric -> (low, high), percent.

    Source: cluster bootstrap, percentile method (Efron & Tibshirani, 1993).
    """
    ids_V = query_ids[values.query_V]
    draws_RI = _draws(ids_V, resamples, seed)
    ends = {
        name: np.percentile(_resampled(v, ids_V, draws_RI), [2.5, 97.5]) for name, v in values_of(values).items()
    }
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def compare(
    one: PerQuery, other: PerQuery, query_ids: Ints, *, resamples: int = 2000, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Test whether two runs differ on the same queries.

    Args:
        one: values of the first run.
        other: values of the second run.
        query_ids: identities of all queries.
        resamples: number of bootstrap samples.
        seed: seed of the resampling.

    Returns:
        Metric -> difference (first - second, percentage points), low and high of its 95 % interval, and p, the
        two-sided share of resamples beyond zero, at least 1 / resamples.

    Raises:
        ValueError: the runs were not evaluated on the same queries.

    Source: paired cluster bootstrap (Efron & Tibshirani, 1993).
    """
    if not np.array_equal(one.query_V, other.query_V):
        raise ValueError("the two runs do not have the same valid queries: evaluate both on the same test set")
    ids_V = query_ids[one.query_V]
    draws_RI = _draws(ids_V, resamples, seed)
    second, result = values_of(other), {}
    for name, values_V in values_of(one).items():
        gap_V = values_V - second[name]
        gaps_R = _resampled(gap_V, ids_V, draws_RI)
        low, high = np.percentile(gaps_R, [2.5, 97.5])
        p = 2 * min((gaps_R <= 0).mean(), (gaps_R >= 0).mean())
        difference = float(gap_V.mean())
        result[name] = {"difference": difference, "low": float(low), "high": float(high)}
        result[name]["p"] = float(min(1.0, max(p, 1 / resamples)))
    return result
