"""Ranks and what follows from them, against loops that follow the protocols literally, with heavy ties."""

import numpy as np
import pytest
import torch

from engine.errors import UserError
from reid.config import Protocol
from reid.evaluation.bootstrap import compare, intervals
from reid.evaluation.expansion import expand_queries, pool_queries
from reid.evaluation.features import Labels, load_features, make_features, save_features, warnings
from reid.evaluation.metrics import all_shots, metrics, per_query
from reid.evaluation.rank import Ranks, feature_blocks, matrix_blocks, rank_positives, visit
from reid.evaluation.report import as_dict, evaluate_features, suspicious
from reid.evaluation.single_shot import SingleShot
from reid.evaluation.verification import BINS, Verification


def trial(seed, levels=0, queries=13, gallery=60, width=4):
    """Random features; with levels only few distinct values, so that most distances are tied."""
    rng = np.random.default_rng(seed)
    sizes = (queries, gallery)
    q, g = (torch.from_numpy(rng.standard_normal((n, width)).astype(np.float32)) for n in sizes)
    if levels:
        q, g = (x.mul(levels).round().clamp(-levels, levels) for x in (q, g))
        q[:, 0] = g[:, 0] = 3.0  # no zero rows
    labels = Labels(
        rng.integers(1, 8, queries),
        rng.integers(0, 7, gallery),
        rng.integers(1, 4, queries),
        rng.integers(1, 4, gallery),
    )
    return q, g, labels


def distance_of(q, g, metric):
    if metric == "cosine":
        unit = torch.nn.functional.normalize
        return -(unit(q) @ unit(g).T)
    return torch.stack([((row - g) ** 2).sum(1) for row in q])


def walk_of(distance_G, labels, i):
    """The valid gallery of a query, nearest first, ties in gallery order."""
    order = sorted(range(len(distance_G)), key=lambda j: distance_G[j])
    own = (labels.query_ids[i], labels.query_cams[i])
    return [j for j in order if (labels.gallery_ids[j], labels.gallery_cams[j]) != own]


def slow(distance, labels):
    """Sort the whole gallery of each query (stable) and walk down it."""
    aps, traps, inps, firsts, shots = [], [], [], [], []
    for i in range(len(distance)):
        walk = walk_of(distance[i].tolist(), labels, i)
        hits = [r for r, j in enumerate(walk, 1) if labels.gallery_ids[j] == labels.query_ids[i]]
        if not hits:
            continue
        aps.append(np.mean([n / r for n, r in enumerate(hits, 1)]))
        traps.append(np.mean([(n / r + (1 if r == 1 else (n - 1) / (r - 1))) / 2 for n, r in enumerate(hits, 1)]))
        inps.append(len(hits) / hits[-1])
        firsts.append(hits[0])
        shots.append([np.mean([r - n <= k for n, r in enumerate(hits)]) for k in (1, 5, 10)])
    return {
        "mAP": 100 * np.mean(aps),
        "mAP_trapezoid": 100 * np.mean(traps),
        "mINP": 100 * np.mean(inps),
        **{f"rank{k}": 100 * np.mean([f <= k for f in firsts]) for k in (1, 5, 10)},
        "valid_queries": len(aps),
        **{f"allshots_rank{k}": 100 * np.mean([s[i] for s in shots]) for i, k in enumerate((1, 5, 10))},
    }


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [1, 2, 0])
def test_against_the_slow_reference(seed, levels, metric):
    q, g, labels = trial(seed, levels)
    if metric == "euclidean":
        distance = (g.square().sum(1) - 2 * q @ g.T).numpy()  # small integers: exact
    else:
        unit = torch.nn.functional.normalize(g)
        q, g = torch.nn.functional.normalize(q), unit
        distance = next(iter(feature_blocks(q, g, labels))).distance_CG
        back = np.empty_like(distance)
        back[:, np.argsort(labels.gallery_ids, kind="stable")] = distance
        assert np.abs(back - distance_of(q, g, "cosine").numpy()).max() < 1e-6
        distance = back
    want = slow(torch.from_numpy(distance), labels)
    for chunk in (1, 5, 256):
        ranks = [rank_positives(feature_blocks(q, g, labels, metric=metric, chunk=chunk))]
        ranks += [rank_positives(matrix_blocks(distance, labels, chunk=chunk))]
        for each in ranks if chunk == 256 else ranks[1:]:
            got = metrics(each) | all_shots(each)
            assert got.keys() == want.keys()
            for name in want:
                assert got[name] == pytest.approx(want[name], abs=1e-6), name


def test_hand_made_numbers():
    """Positives at ranks 1 and 3 of one query: AP = (1 + 2/3) / 2, trapezoid = (1 + (2/3 + 1/2) / 2) / 2."""
    ranks = Ranks(np.array([0, 0]), np.array([1, 3]), 1)
    got = metrics(ranks)
    assert got["mAP"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert got["mAP_trapezoid"] == pytest.approx(100 * (1 + (2 / 3 + 1 / 2) / 2) / 2)
    assert got["mINP"] == pytest.approx(100 * 2 / 3)
    assert all_shots(ranks, (1, 2)) == {"allshots_rank1": 50.0, "allshots_rank2": 100.0}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("levels", [1, 0])
def test_single_shot_against_its_expectation(seed, levels):
    """The expected rank-k of one random image per identity, from the law of the number of nearer identities."""
    q, g, labels = trial(seed, levels, queries=8, gallery=40)
    distance = distance_of(q, g, "euclidean").numpy()
    shots = SingleShot(labels, repeats=4000, seed=seed)
    visit(matrix_blocks(distance, labels, chunk=3), shots)
    hits = {1: [], 5: []}
    for i in range(len(q)):
        positives = np.flatnonzero(
            (labels.gallery_ids == labels.query_ids[i]) & (labels.gallery_cams != labels.query_cams[i])
        )
        if not len(positives):
            continue
        shares = []
        for p in positives:
            law = np.ones(1)
            for other in np.unique(labels.gallery_ids[labels.gallery_ids != labels.query_ids[i]]):
                mine = np.flatnonzero(labels.gallery_ids == other)
                nearer = [(distance[i, j], j) < (distance[i, p], p) for j in mine]
                law = np.convolve(law, [1 - np.mean(nearer), np.mean(nearer)])
            shares.append([law[:k].sum() for k in hits])
        for k, value in zip(hits, np.mean(shares, 0), strict=True):
            hits[k].append(value)
    got = shots.result((1, 5))
    for k in hits:
        assert got[f"single_shot_rank{k}"] == pytest.approx(100 * np.mean(hits[k]), abs=2.0)
    again = SingleShot(labels, repeats=3, seed=1), SingleShot(labels, repeats=3, seed=1)
    for each in again:
        visit(matrix_blocks(distance, labels), each)
    assert again[0].result() == again[1].result()


def test_verification_against_all_pairs():
    q, g, labels = trial(3, queries=20, gallery=120)
    pairs = Verification()
    visit(feature_blocks(q, g, labels, chunk=7), pairs)
    similarity = -distance_of(q, g, "cosine").numpy()
    same_id = labels.query_ids[:, None] == labels.gallery_ids[None]
    same_cam = labels.query_cams[:, None] == labels.gallery_cams[None]
    same, other = np.sort(similarity[same_id & ~same_cam]), np.sort(similarity[~same_id])
    assert (pairs.same_B.sum(), pairs.other_B.sum()) == (len(same), len(other))
    found = pairs.result((1e-2, 0.2))
    for level in (0.01, 0.2):
        threshold = found[f"threshold_at_fpr_{level:g}"]
        assert (other >= threshold).mean() <= level + 1e-3
        assert found[f"tpr_at_fpr_{level:g}"] == pytest.approx(100 * (same >= threshold).mean(), abs=1.0)
        assert (other >= threshold - 4 * 2 / BINS).mean() >= level - 2 / len(other)  # the lowest such threshold
    threshold = found["threshold_eer"]
    miss, alarm = 100 * (same < threshold).mean(), 100 * (other >= threshold).mean()
    assert found["eer"] == pytest.approx((miss + alarm) / 2, abs=0.5)
    assert abs(miss - alarm) < 3
    edges, mine, theirs = pairs.histograms(50)
    assert (len(edges), mine.sum(), theirs.sum()) == (51, pytest.approx(1), pytest.approx(1))


def test_intervals_cover_and_comparisons_see_a_real_difference():
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(100), 4)
    good = Ranks(np.arange(400), rng.integers(1, 4, 400), 400)
    worse = Ranks(np.arange(400), good.rank_N + (rng.random(400) < 0.3), 400)
    known = intervals(per_query(good), ids)
    assert known["mAP"][0] < metrics(good)["mAP"] < known["mAP"][1]
    assert known == intervals(per_query(good), ids)
    found = compare(per_query(good), per_query(worse), ids)["mAP"]
    assert found["difference"] == pytest.approx(metrics(good)["mAP"] - metrics(worse)["mAP"])
    assert 0 < found["low"] < found["difference"] < found["high"]
    assert found["p"] < 0.01
    same = compare(per_query(good), per_query(good), ids)["mAP"]
    assert (same["difference"], same["p"]) == (0.0, 1.0)
    with pytest.raises(ValueError, match="same valid queries"):
        compare(per_query(good), per_query(Ranks(np.arange(399), good.rank_N[:399], 400)), ids)


def test_intervals_resample_identities_not_queries():
    """Ten copies of every query must not make the interval narrower."""
    rng = np.random.default_rng(1)
    ids, rank = np.arange(50), rng.integers(1, 5, 50)
    many = Ranks(np.arange(500), np.repeat(rank, 10), 500)
    once = intervals(per_query(Ranks(np.arange(50), rank, 50)), ids)["mAP"]
    assert intervals(per_query(many), np.repeat(ids, 10))["mAP"] == pytest.approx(once)


def test_query_expansion_and_pooling_against_loops():
    q, g, labels = trial(5)
    unit = torch.nn.functional.normalize
    for alpha in (0.0, 3.0):
        got = expand_queries(q, g, 3, alpha=alpha, chunk=4)
        for i in range(len(q)):
            similarity = unit(g) @ unit(q[i], dim=0)
            best = similarity.argsort(descending=True)[:3]
            total = unit(q[i], dim=0) + sum(
                max(float(similarity[j]), 0) ** alpha * unit(g[j], dim=0) for j in best
            )
            torch.testing.assert_close(got[i], unit(total, dim=0))
    with pytest.raises(ValueError, match="61"):
        expand_queries(q, g, 61)
    pooled = pool_queries(q, labels.query_ids, labels.query_cams, g, labels.gallery_ids, labels.gallery_cams)
    for i in range(len(q)):
        mine = (labels.gallery_ids == labels.query_ids[i]) & (labels.gallery_cams == labels.query_cams[i])
        want = unit(unit(g[torch.from_numpy(mine)]).sum(0), dim=0) if mine.any() else unit(q[i], dim=0)
        torch.testing.assert_close(pooled[i], want)


def test_the_report_is_one_pass_over_everything():
    q, g, labels = trial(2)
    features = make_features(q, g, *labels)
    report = evaluate_features(features, Protocol(single_shot=3, resamples=50))
    assert report.numbers["mAP"] == pytest.approx(metrics(rank_positives(feature_blocks(q, g, labels)))["mAP"])
    assert {"single_shot_rank1", "eer", "allshots_rank1", "tpr_at_fpr_0.01"} <= report.numbers.keys()
    told = as_dict(report)
    assert told["interval95"]["mAP"][0] <= told["mAP"] <= told["interval95"]["mAP"][1]
    again = evaluate_features(features, Protocol(single_shot=3, resamples=50))
    assert as_dict(again) == told
    reranked = evaluate_features(features, Protocol(rerank=True, k1=7, k2=3))
    assert "eer" not in reranked.numbers
    for bad in (Protocol(metric="l2"), Protocol(rerank=True, k1=99), Protocol(expand=99)):
        with pytest.raises(UserError):
            evaluate_features(features, bad)


def test_files_of_other_toolboxes(tmp_path):
    q, g, labels = trial(4)
    save_features(make_features(q, g, *labels), tmp_path / "f.npz")
    read = load_features(tmp_path / "f.npz")
    assert torch.equal(read.query_QD, q)
    assert all((a == b).all() for a, b in zip(read.labels, labels, strict=True))
    arrays = dict(np.load(tmp_path / "f.npz"))
    no_cams = {k: v for k, v in arrays.items() if "cams" not in k}
    np.savez(tmp_path / "n.npz", **no_cams)
    assert not load_features(tmp_path / "n.npz").has_cameras
    nan = arrays["gallery_features"].copy()
    nan[3, 1] = np.nan
    for change, message in (
        ({"gallery_features": nan}, "1 of 60 rows are not finite"),
        ({"query_ids": arrays["query_ids"][:5]}, "query_ids must have one value for each of the 13"),
        ({"query_ids": arrays["query_ids"] + 0.5}, "must be integers"),
        ({"query_features": arrays["query_features"][:, :2]}, "2 columns"),
        ({"query_features": arrays["query_features"][0]}, "must be a matrix"),
        ({"query_features": arrays["query_ids"][:, None]}, "matrix of floats"),
    ):
        np.savez(tmp_path / "bad.npz", **{**arrays, **change})
        with pytest.raises(UserError, match=message):
            load_features(tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", **{k: v for k, v in arrays.items() if k != "gallery_ids"})
    with pytest.raises(UserError, match="no array 'gallery_ids'; it has"):
        load_features(tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", **{k: v for k, v in arrays.items() if k != "gallery_cams"})
    with pytest.raises(UserError, match="for neither"):
        load_features(tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", **{**arrays, "query_ids": np.array([{}] * 13)})
    with pytest.raises(UserError, match="plain arrays"):
        load_features(tmp_path / "bad.npz")
    (tmp_path / "torn.npz").write_bytes((tmp_path / "f.npz").read_bytes()[:300])
    for name in ("torn.npz", "none.npz"):
        with pytest.raises(UserError, match=name):
            load_features(tmp_path / name)


def test_warnings_of_what_people_get_wrong():
    q, g, labels = trial(1, queries=30, gallery=90)

    def told(query=q, gallery=g, **change):
        return " | ".join(warnings(make_features(query, gallery, *labels._replace(**change))))

    ids = np.random.default_rng(0).integers(1, 7, 30)
    assert told(query_ids=ids) == ""
    assert "query identities are not in the gallery, e.g. 77" in told(query_ids=np.full(30, 77))
    assert "from one camera" in told(query_cams=np.ones(30), gallery_cams=np.ones(90))
    assert "90 gallery images have id -1" in told(gallery_ids=np.full(90, -1))
    assert "all query features are the same" in told(query=torch.ones(30, 4))
    assert "1 gallery features are zero" in told(gallery=torch.cat([g[:-1], torch.zeros(1, 4)]))
    assert "half precision" in told(query=q.half())
    no_cameras = make_features(q, g, labels.query_ids, labels.gallery_ids)
    assert any("no cameras" in text for text in warnings(no_cameras))
    assert "first hits" in suspicious({"rank1": 2.1, "rank5": 92.5, "valid_queries": 100}, 100)[0]
    assert "rank-1 is 100" in suspicious({"rank1": 100, "rank5": 100, "valid_queries": 100}, 100)[0]
    assert "10 of 110 queries" in suspicious({"rank1": 50, "rank5": 70, "valid_queries": 100}, 110)[0]


def test_errors():
    one, ids = torch.ones(1, 2), np.array([1])
    with pytest.raises(ValueError, match="no query has a positive"):
        metrics(rank_positives(feature_blocks(one, one, Labels(ids, ids, ids, ids))))
    with pytest.raises(UserError, match="no query has a positive.*one camera"):
        evaluate_features(make_features(one, one, ids, ids, ids, ids))
    with pytest.raises(ValueError, match="cosine or euclidean"):
        feature_blocks(one, one, Labels(ids, ids, ids, ids), metric="l1")
