import numpy as np
import pytest
import torch

from keepcore.regions import above, anywhere, below
from keepcore.scores import box_scores, candidates
from tests.references import eligible_weights

N = 40


def grid_of(n):
    return candidates(torch.tensor([[1, 1]]), 1, n, "clip")


def frequencies(select, scores, grid, quantile, points=20_000):
    """Chance of each candidate, by sweeping the uniform draw over [0, 1)."""
    u = (torch.arange(points, dtype=torch.float64) + 0.5) / points
    index = select(scores.expand(points, -1, -1), grid, u, quantile)
    return np.bincount(index.numpy(), minlength=scores.numel()) / points


@pytest.mark.parametrize("quantile", [0.0, 0.1, 0.29, 0.6, 0.999, 1.0])
@pytest.mark.parametrize("kind", ["distinct", "ties", "flat", "two"])
@pytest.mark.parametrize("side", ["below", "above"])
def test_law_equals_random_tie_breaking(quantile, kind, side):
    scores = {
        "distinct": torch.randperm(N).double(),
        "ties": torch.randint(0, 4, (N,)).double(),
        "flat": torch.full((N,), 3.0).double(),
        "two": torch.cat([torch.zeros(N - 1), torch.ones(1)]).double(),
    }[kind]
    got = frequencies({"below": below, "above": above}[side], scores[None, None], grid_of(N), quantile)
    want = eligible_weights(scores.tolist(), quantile, side)
    np.testing.assert_allclose(got, want, atol=2e-4)


def test_whole_quantile_is_the_plain_draw_box_for_box():
    scores = torch.rand(5000, 6, 9, dtype=torch.float64)
    scores[::2] = scores[::2].round(decimals=1)  # ties
    grid = candidates(torch.tensor([[3, 3]]), 8, 11, "inside")
    u = torch.rand(5000, dtype=torch.float64)
    plain = anywhere(None, grid, u)
    assert torch.equal(below(scores, grid, u, 1.0), plain)
    assert torch.equal(above(scores, grid, u, 0.0), plain)
    assert plain.unique().tolist() == list(range(54))


def test_images_of_different_sizes_have_their_own_quantile():
    sizes = torch.tensor([[2, 2], [5, 3], [1, 8], [8, 8]])
    grid = candidates(sizes, 8, 8, "inside")
    saliency = torch.rand(4, 8, 8)
    scores = box_scores(saliency, grid)
    for u in np.linspace(0, 0.999, 50):
        draws = torch.full((4,), u, dtype=torch.float64)
        assert torch.equal(below(scores, grid, draws, 1.0), anywhere(None, grid, draws))
        index = below(scores, grid, draws, 0.6)
        for i in range(4):
            valid = scores[i].flatten()
            valid = valid[valid.isfinite()].sort().values
            limit = valid[max(1, int(0.6 * len(valid) + 1e-9)) - 1]
            assert scores[i].flatten()[index[i]] <= limit


def test_the_largest_draw_stays_eligible():
    u = torch.tensor([np.nextafter(1.0, 0.0)])
    for n in (1, 2, 7, 64, 4096, 50_176):
        scores = torch.arange(n, dtype=torch.float64)[None, None]
        assert below(scores, grid_of(n), u, 0.6).item() == max(1, int(0.6 * n + 1e-9)) - 1
        assert anywhere(None, grid_of(n), u).item() == n - 1


def test_quantile_out_of_range():
    for select in (below, above):
        for quantile in (-0.1, 1.1, float("nan")):
            with pytest.raises(ValueError, match="quantile"):
                select(torch.zeros(1, 1, N), grid_of(N), torch.zeros(1), quantile)
