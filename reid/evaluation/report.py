"""Compute all reported metrics from features, in one pass over the distances."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from engine.errors import UserError, as_user_error, check_ranges
from reid.config import Protocol
from reid.evaluation.bootstrap import intervals
from reid.evaluation.expansion import expand_queries
from reid.evaluation.features import Features, warnings
from reid.evaluation.metrics import PerQuery, all_shots, metrics, per_query
from reid.evaluation.rank import Block, Ranker, Ranks, feature_blocks, matrix_blocks, unit, visit
from reid.evaluation.rerank import rerank
from reid.evaluation.single_shot import SingleShot
from reid.evaluation.verification import Verification


class Report(NamedTuple):
    """Result of an evaluation.

    Attributes:
        numbers: metric -> value, percent; see :mod:`reid.evaluation.metrics`, :mod:`reid.evaluation.verification`.
        intervals: metric -> 95 % interval.
        per_query: values of the valid queries, for :func:`reid.evaluation.bootstrap.compare`.
        ranks: ranks of all positives.
        verification: histograms of the similarities, or None.
        remarks: suspected mistakes.
    """

    numbers: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    per_query: PerQuery
    ranks: Ranks
    verification: Verification | None
    remarks: list[str]


def evaluate_features(
    features: Features, protocol: Protocol | None = None, *, progress: Callable[[float], None] | None = None
) -> Report:
    """Evaluate features.

    Args:
        features: query and gallery features with labels.
        protocol: the protocol; None uses the default options.
        progress: called with the completed share of the re-ranking, in [0, 1].

    Raises:
        UserError: no query has a positive, or an option is out of range.

    Source: Market-1501 evaluation protocol (Zheng et al., ICCV 2015).
    """
    protocol = protocol or Protocol()
    check(protocol)
    blocks = distances(features, protocol, progress)
    ranker, labels = Ranker(), features.labels
    shots = SingleShot(labels, protocol.single_shot, protocol.seed) if protocol.single_shot else None
    # A threshold needs a similarity of the pair alone; re-ranked distances depend on the rest of the gallery.
    pairs = Verification() if protocol.thresholds and protocol.metric == "cosine" and not protocol.rerank else None
    visit(blocks, *(visitor for visitor in (ranker, shots, pairs) if visitor is not None))
    ranks = ranker.result()
    remarks = warnings(features)
    if pairs is not None:
        remarks += pairs.remarks()
    try:
        numbers = metrics(ranks) | all_shots(ranks)
    except ValueError as error:
        raise UserError("; ".join([str(error), *remarks])) from error
    numbers |= shots.result() if shots else {}
    numbers |= pairs.result() if pairs else {}
    values = per_query(ranks)
    resamples, ends = protocol.resamples, {}
    if resamples:
        ends = intervals(values, labels.query_ids, resamples=resamples, seed=protocol.seed)
    remarks += suspicious(numbers, ranks.num_queries)
    return Report(numbers, ends, values, ranks, pairs, remarks)


def check(protocol: Protocol) -> None:
    """Check the options before any work.

    Raises:
        UserError: an option is out of range.
    """
    check_ranges(
        protocol, k1=(1, None), k2=(1, None), rerank_weight=(0, 1), expand=(0, None), expand_alpha=(0, None)
    )
    check_ranges(protocol, resamples=(0, None), single_shot=(0, None), seed=(0, None))


def distances(
    features: Features, protocol: Protocol, progress: Callable[[float], None] | None = None
) -> Iterator[Block]:
    """Stream the distances by which a protocol ranks.

    Args:
        features: query and gallery features.
        protocol: metric, query expansion and re-ranking.
        progress: called with the completed share of the re-ranking, in [0, 1].

    Raises:
        UserError: an option is out of range.

    Source: see the functions called.
    """
    query_QD, gallery_GD = features.query_QD, features.gallery_GD
    with as_user_error():
        if protocol.expand:
            query_QD = expand_queries(query_QD, gallery_GD, protocol.expand, alpha=protocol.expand_alpha)
        if not protocol.rerank:
            return feature_blocks(query_QD, gallery_GD, features.labels, metric=protocol.metric)
        if protocol.metric == "cosine":
            query_QD, gallery_GD = unit(query_QD), unit(gallery_GD)
        matrix_QG = rerank(
            query_QD,
            gallery_GD,
            k1=protocol.k1,
            k2=protocol.k2,
            weight=protocol.rerank_weight,
            progress=progress,
        )
    return matrix_blocks(matrix_QG, features.labels)


def suspicious(numbers: dict[str, float], queries: int) -> list[str]:
    """Report numbers that usually indicate a mistake.

    Args:
        numbers: metrics of an evaluation, in percent.
        queries: number of queries, Q.

    Source: issue threads of the strong baseline and AlignedReID (rank-1 2.1 with rank-5 92.5).
    """
    remarks = []
    if numbers["rank1"] < 20 and numbers["rank5"] > 80:
        remarks.append(
            f"rank-1 {numbers['rank1']:.1f} with rank-5 {numbers['rank5']:.1f}: the first hits are left out or "
            "wrong: check the gallery for junk images and for queries under another camera"
        )
    if numbers["rank1"] == 100 and queries > 20:
        remarks.append("rank-1 is 100: check that no query image is in the gallery, and check the cameras")
    left = queries - int(numbers["valid_queries"])
    if left:
        remarks.append(
            f"{left} of {queries} queries have no positive in the gallery and are left out of every mean"
        )
    return remarks


def as_dict(report: Report) -> dict[str, Any]:
    """Convert a report to plain values for JSON."""
    ends = {name: [round(low, 4), round(high, 4)] for name, (low, high) in report.intervals.items()}
    return {**report.numbers, "interval95": ends, "remarks": report.remarks}
