"""From maps to boxes: scores every candidate and selects one per image.

Shape legend: P images, H W pixels, S = 1 (one size for the batch) or P, Y X candidate positions.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from keepcore.boxes import box_area, box_mask
from keepcore.draws import Draws
from keepcore.regions import Selector, anywhere
from keepcore.scores import Candidates, box_at, box_scores, candidates

MATCHES = ("any", "area")


class Selection(NamedTuple):
    """The selected boxes.

    Attributes:
        boxes_P4: int64 ``(y0, x0, y1, x1)``.
        share_P: float32 share of the image's saliency inside its box; NaN if no saliency was computed.
        flat_P: bool, the map was constant or not finite, so the box was drawn uniformly.
    """

    boxes_P4: Tensor
    share_P: Tensor
    flat_P: Tensor


def select_without_map(
    draws: Draws, height: int, width: int, *, selector: Selector, quantile: float, border: str
) -> Tensor:
    """Select boxes without saliency: boxes_P4 on the CPU.

    Args:
        draws: random numbers of the step.
        height: rows of the image, pixels.
        width: columns of the image, pixels.
        selector: one that needs no scores.
        quantile: tau in [0, 1].
        border: see :func:`keepcore.scores.candidates`.

    Source: DeVries and Taylor, 2017 (Cutout).
    """
    grid = candidates(draws.sizes_S2, height, width, border)
    return box_at(selector(None, grid, draws.u_P, quantile), grid)


def select_boxes(
    map_PHW: Tensor,
    draws: Draws,
    *,
    selector: Selector,
    quantile: float,
    border: str,
    reduce: str = "sum",
    match: str = "any",
) -> Selection:
    """Select one box per image by the saliency inside it.

    Args:
        map_PHW: float32 saliency maps.
        draws: random numbers of the step.
        selector: ``below``, ``above`` or your own.
        quantile: tau in [0, 1].
        border: see :func:`keepcore.scores.candidates`.
        reduce: see :func:`keepcore.scores.box_scores`.
        match: ``any`` selects among all candidates, ``area`` among those of the size that the plain augmentation
            has with the same draws, after clipping; see :func:`same_size_as_plain`.

    Returns:
        The selection, on the device of the map.

    Raises:
        ValueError: match is unknown, or see :func:`keepcore.scores.candidates`.

    Source: Gong et al., CVPR 2021, Algorithm 1.
    Differs from the paper: it has no counterpart of ``match="area"``.
    """
    if match not in MATCHES:
        raise ValueError(f"match must be one of {', '.join(MATCHES)}, got {match!r}")
    height, width = map_PHW.shape[1:]
    grid, u_P = candidates(draws.sizes_S2, height, width, border), draws.u_P
    flat_P = is_flat(map_PHW)
    map_PHW = map_PHW.masked_fill(flat_P[:, None, None], 1.0)
    scores_PYX = level_PYX = box_scores(map_PHW, grid, reduce)
    eligible = grid
    if match == "area" and border == "clip":  # inside the image all candidates have one size
        eligible, u_P = same_size_as_plain(grid, u_P)
        level_PYX = _only(level_PYX, eligible)
    plain_P = anywhere(None, grid, draws.u_P).to(map_PHW.device, non_blocking=True)
    index_P = torch.where(flat_P, plain_P, selector(level_PYX, eligible, u_P, quantile))
    boxes_P4 = box_at(index_P, grid)
    inside_P = scores_PYX.flatten(1).gather(1, index_P[:, None])[:, 0]
    if reduce == "mean":
        inside_P = inside_P * box_area(boxes_P4)
    return Selection(boxes_P4, (inside_P / map_PHW.sum((1, 2), dtype=inside_P.dtype)).float(), flat_P)


def same_size_as_plain(grid: Candidates, u_P: Tensor) -> tuple[Candidates, Tensor]:
    """Keep the candidates of the height and width that the plain augmentation's box has after clipping.

    With the sum of saliency, boxes that hang over the border score low because they are small, so ``below``
    prefers them: it cuts less, not elsewhere. Among candidates of one size, the law of the cut area, and of
    CutMix's lambda, is exactly that of the plain augmentation.

    Args:
        grid: the candidates, S = 1 or P, on the CPU.
        u_P: float64 in [0, 1), on the CPU; decides the plain box as in :func:`keepcore.regions.anywhere`.

    Returns:
        The candidates of the plain box's size, S = P, and float64 uniform draws for the choice among them: the
        part of each number that the plain box did not use.

    Source: the separable grid of :func:`keepcore.scores.candidates`; a choice of this package.
    """
    images = len(u_P)
    plain_P4 = box_at(anywhere(None, grid, u_P), grid)
    heights_PY = (grid.y1_SY - grid.y0_SY).expand(images, -1)
    widths_PX = (grid.x1_SX - grid.x0_SX).expand(images, -1)
    rows_PY = heights_PY == (plain_P4[:, 2] - plain_P4[:, 0])[:, None]
    columns_PX = widths_PX == (plain_P4[:, 3] - plain_P4[:, 1])[:, None]
    used_P = u_P * grid.count_S
    matched = grid._replace(
        valid_y_SY=rows_PY,
        valid_x_SX=columns_PX,
        count_S=rows_PY.sum(1) * columns_PX.sum(1),
        columns_S=columns_PX.sum(1),
    )
    return matched, used_P - used_P.floor()


def share_inside(map_PHW: Tensor, boxes_P4: Tensor) -> Tensor:
    """Return the share of each map inside its box: share_P, float32; NaN for a map of zeros.

    Args:
        map_PHW: float32 saliency maps.
        boxes_P4: int64 ``(y0, x0, y1, x1)``.

    Source: Gong et al., CVPR 2021, Eq. 1.
    """
    inside_P = (map_PHW * box_mask(boxes_P4, *map_PHW.shape[1:])).sum((1, 2))
    return inside_P / map_PHW.sum((1, 2))


def is_flat(map_BHW: Tensor) -> Tensor:
    """Return flat_B, bool: whether a map is constant or holds values that are not finite.

    Source: the definition; the paper says nothing of such maps.
    """
    low_B, high_B = map_BHW.flatten(1).aminmax(dim=1)
    return ~(low_B.isfinite() & high_B.isfinite() & (low_B < high_B))


def _only(scores_PYX: Tensor, grid: Candidates) -> Tensor:
    """Give positions that are not candidates the score +inf."""
    assert grid.valid_y_SY is not None and grid.valid_x_SX is not None  # noqa: PT018 - set by the caller
    device = scores_PYX.device
    rows_PY1 = grid.valid_y_SY.to(device, non_blocking=True)[:, :, None]
    columns_P1X = grid.valid_x_SX.to(device, non_blocking=True)[:, None, :]
    return scores_PYX.masked_fill(~(rows_PY1 & columns_P1X), torch.inf)
