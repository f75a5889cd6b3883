"""Ranks against a loop that follows the protocol literally, with junk, distractors and heavy ties."""

import numpy as np
import pytest
import torch

from reid.rank import Ranks, metrics, rank_positives


def slow(q, g, q_ids, g_ids, q_cams, g_cams):
    """Sort the whole gallery of each query (stable) and walk down it."""
    aps, traps, inps, firsts = [], [], [], []
    for i in range(len(q)):
        distance = [-(q[i] * g[j]).sum().item() for j in range(len(g))]
        walk = [
            j
            for j in sorted(range(len(g)), key=lambda j: distance[j])
            if not (g_ids[j] == q_ids[i] and g_cams[j] == q_cams[i])
        ]
        hits = [r for r, j in enumerate(walk, 1) if g_ids[j] == q_ids[i]]
        if not hits:
            continue
        aps.append(np.mean([n / r for n, r in enumerate(hits, 1)]))
        traps.append(np.mean([(n / r + (1 if r == 1 else (n - 1) / (r - 1))) / 2 for n, r in enumerate(hits, 1)]))
        inps.append(len(hits) / hits[-1])
        firsts.append(hits[0])
    return {
        "mAP": 100 * np.mean(aps),
        "mAP_trapezoid": 100 * np.mean(traps),
        "mINP": 100 * np.mean(inps),
        **{f"rank{k}": 100 * np.mean([f <= k for f in firsts]) for k in (1, 5, 10)},
        "valid_queries": len(aps),
    }


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [2, 3, 0])
def test_against_the_slow_reference(seed, levels):
    rng = np.random.default_rng(seed)
    q, g = (torch.from_numpy(rng.standard_normal((n, 4)).astype(np.float32)) for n in (13, 60))
    if levels:  # few distinct exact values: most distances are tied
        q, g = (x.mul(levels).round().clamp(-levels, levels) for x in (q, g))
    q_ids, g_ids = rng.integers(1, 8, 13), rng.integers(0, 7, 60)
    q_cams, g_cams = rng.integers(1, 4, 13), rng.integers(1, 4, 60)
    labels = (q_ids, g_ids, q_cams, g_cams)
    want = slow(q, g, *labels)
    for chunk in (1, 5, 256):
        got = metrics(rank_positives(q, g, *labels, chunk=chunk))
        assert got.keys() == want.keys()
        for name in want:
            assert got[name] == pytest.approx(want[name], abs=1e-6), name


def test_hand_made_numbers():
    """Positives at ranks 1 and 3 of one query: AP = (1 + 2/3) / 2, trapezoid = (1 + (2/3 + 1/2) / 2) / 2."""
    got = metrics(Ranks(np.array([0, 0]), np.array([1, 3]), 1))
    assert got["mAP"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert got["mAP_trapezoid"] == pytest.approx(100 * (1 + (2 / 3 + 1 / 2) / 2) / 2)
    assert got["mINP"] == pytest.approx(100 * 2 / 3)


def test_errors():
    one, ids = torch.ones(1, 2), np.array([1])
    with pytest.raises(ValueError, match="no query has a positive"):
        metrics(rank_positives(one, one, ids, ids, ids, ids))
    with pytest.raises(ValueError, match="not finite"):
        rank_positives(one, one * torch.nan, ids, ids, ids, ids)
    with pytest.raises(ValueError, match="2 ids"):
        rank_positives(one, one, ids, np.array([1, 2]), ids, ids)
