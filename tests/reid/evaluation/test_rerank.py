"""Re-ranking against a dense version that follows the paper set by set."""

import numpy as np
import pytest
import torch

from reid.evaluation.rerank import expanded_pairs, nearest, rerank


def dense(q, g, k1, k2, weight):
    """Loops over sets and full matrices, in float64."""
    f = torch.cat([q, g]).double().numpy()
    n, nq = len(f), len(q)
    d = ((f[:, None] - f[None]) ** 2).sum(-1)
    np.fill_diagonal(d, -1.0)
    near = np.argsort(d, axis=1, kind="stable")
    np.fill_diagonal(d, 0.0)
    scaled = d / d.max(1, keepdims=True)
    half = int(np.around(k1 / 2))

    def reciprocal(i, k):
        return {j for j in near[i, : k + 1] if i in near[j, : k + 1]}

    v = np.zeros((n, n))
    sets = []
    for i in range(n):
        members = set(reciprocal(i, k1))
        for j in reciprocal(i, k1):
            more = reciprocal(j, half)
            if len(more & reciprocal(i, k1)) > 2 / 3 * len(more):
                members |= more
        sets.append(members)
        at = sorted(members)
        v[i, at] = np.exp(-scaled[i, at])
        v[i] /= v[i].sum()
    if k2 > 1:
        v = np.stack([v[near[i, :k2]].mean(0) for i in range(n)])
    final = np.empty((nq, n - nq))
    for i in range(nq):
        for j in range(nq, n):
            shared = np.minimum(v[i], v[j]).sum()
            final[i, j - nq] = (1 - weight) * (1 - shared / (2 - shared)) + weight * scaled[i, j]
    return final, sets


def clustered(seed, n=90, queries=25):
    g = torch.Generator().manual_seed(seed)
    f = torch.randn(12, 8, generator=g)[torch.randint(12, (n,), generator=g)] + 0.6 * torch.randn(
        n, 8, generator=g
    )
    return f[:queries], f[queries:]


@pytest.mark.parametrize(
    "options", [(20, 6, 0.3), (7, 3, 0.5), (15, 4, 1.0), (20, 1, 0.0), (30, 8, 0.1), (5, 2, 0.3)]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_against_the_dense_reference(seed, options):
    q, g = clustered(seed)
    k1, k2, weight = options
    want, sets = dense(q, g, *options)
    got = rerank(q, g, k1=k1, k2=k2, weight=weight)
    assert np.abs(got - want).max() < 1e-5
    _, near = nearest(torch.cat([q, g]), k1 + 1, len(q), lambda share: None, tile=17)
    n = len(q) + len(g)
    keys = expanded_pairs(near.index_NK, k1)
    assert [set((keys[keys // n == i] % n).tolist()) for i in range(n)] == sets


@pytest.mark.parametrize("tile", [1, 13, 64, 1000])
def test_tiles_do_not_matter(tile):
    q, g = clustered(3)
    f = torch.cat([q, g])
    original, near = nearest(f, 6, len(q), lambda share: None, tile=tile)
    d = torch.cdist(f.double(), f.double()).square()
    wanted, _ = d.topk(6, largest=False)
    np.testing.assert_allclose(near.squared_NK, wanted.numpy(), atol=1e-4)
    np.testing.assert_allclose(near.largest_N, d.amax(1).numpy(), rtol=1e-5)
    np.testing.assert_allclose(original, (d / d.amax(1, keepdim=True))[: len(q), len(q) :].numpy(), atol=1e-5)
    assert (near.index_NK[:, 0] == np.arange(len(f))).all()


def test_weight_one_is_the_original_distance():
    q, g = clustered(4)
    d = torch.cdist(q, g).square()
    largest = torch.cdist(q, torch.cat([q, g])).square().amax(1, keepdim=True)
    np.testing.assert_allclose(rerank(q, g, weight=1.0), (d / largest).numpy(), atol=1e-5)


def test_duplicates_do_not_break_it():
    q, g = clustered(5)
    g = torch.cat([g, g[:1].expand(40, -1)])  # more copies than neighbours
    out = rerank(q, g, k1=6, k2=3)
    assert np.isfinite(out).all()
    assert out.min() >= 0


def test_progress_and_errors():
    q, g = clustered(0)
    shares = []
    rerank(q, g, progress=shares.append)
    assert shares[-1] == 1.0
    assert shares == sorted(shares)
    for options, message in (({"k1": 200}, "k1 200"), ({"k2": 0}, "k2 0"), ({"weight": 1.5}, "got 1.5")):
        with pytest.raises(ValueError, match=message):
            rerank(q, g, **options)


def test_constant_features_give_finite_distances():
    """All distances are zero: nothing may be divided by them."""
    distance_QG = rerank(torch.ones(2, 8), torch.ones(30, 8), k1=6, k2=2, weight=0.3)
    assert np.isfinite(distance_QG).all()
    assert 0.0 <= distance_QG.min() <= distance_QG.max() <= 1.0
