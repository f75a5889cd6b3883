import pytest
import torch

from keepcore.scores import box_at, box_scores, candidates
from tests.references import boxes_of, score_of

CASES = [
    (9, 7, [(3, 2)]),
    (8, 8, [(4, 4)]),
    (5, 5, [(5, 5)]),
    (6, 7, [(1, 1)]),
    (9, 7, [(3, 2), (1, 7), (9, 1), (4, 4)]),
    (6, 6, [(0, 0), (2, 3), (6, 6), (1, 1)]),
]


@pytest.mark.parametrize(("height", "width", "sizes"), CASES)
@pytest.mark.parametrize("border", ["inside", "clip"])
@pytest.mark.parametrize("reduce", ["sum", "mean"])
def test_every_score_equals_the_loop(height, width, sizes, border, reduce):
    saliency = torch.rand(4, height, width)
    grid = candidates(torch.tensor(sizes), height, width, border)
    scores = box_scores(saliency, grid, reduce)
    for i in range(4):
        h, w = sizes[i % len(sizes)]
        boxes = boxes_of(height, width, h, w, border)
        valid = scores[i].flatten().isfinite().nonzero()[:, 0]
        assert len(valid) == len(boxes) == grid.count_S[i % len(sizes)]
        every = box_at(
            torch.arange(scores[i].numel()).repeat(len(sizes)),
            grid._replace(
                **{name: getattr(grid, name)[[i % len(sizes)]] for name in ("y0_SY", "y1_SY", "x0_SX", "x1_SX")}
            ),
        )
        for position, box in zip(valid.tolist(), boxes, strict=True):
            assert tuple(every[position].tolist()) == box
            want = score_of(saliency[i], box, reduce)
            assert scores[i].flatten()[position].item() == pytest.approx(want, rel=1e-9, abs=1e-12)


def test_large_boxes_are_clipped_or_refused():
    grid = candidates(torch.tensor([[40, 40]]), 8, 8, "clip")
    assert torch.equal(box_scores(torch.ones(1, 8, 8), grid), torch.full((1, 8, 8), 64.0, dtype=torch.float64))
    with pytest.raises(ValueError, match="40 px does not fit inside an image of 8 px"):
        candidates(torch.tensor([[40, 40]]), 8, 8, "inside")
    with pytest.raises(ValueError, match="border"):
        candidates(torch.tensor([[4, 4]]), 8, 8, "wrap")
    with pytest.raises(ValueError, match="reduce"):
        box_scores(torch.ones(1, 8, 8), grid, "max")
