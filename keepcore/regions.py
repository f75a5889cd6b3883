"""Choose one box of every image by the rank of its score.

A selector takes ``(scores_BYX, grid, u_B, quantile)`` and returns the raster index of one candidate.

Shape legend: B images, N = Y X candidate positions, S = 1 or B.
"""

import math
from typing import Any, Protocol

import torch
from torch import Tensor

from keepcore.scores import Candidates, candidates
from keepcore.traits import declare

__all__ = ["Selector", "above", "anywhere", "below", "candidates"]

_ROUNDING = 1e-9  # 0.29 * 100 is 28.999...: a quantile that means a whole number of boxes gets it


class Selector(Protocol):
    """Choose a candidate per image."""

    def __call__(self, scores_BYX: Any, grid: Candidates, u_B: Tensor, quantile: float) -> Tensor:
        """Return index_B: int64, raster index into (Y, X); scores are None if the selector declares no use."""
        ...


def below(scores_BYX: Tensor, grid: Candidates, u_B: Tensor, quantile: float) -> Tensor:
    """Draw uniformly from the lowest-scoring boxes: the region that may be cut.

    Eligible are the K = max(1, floor(quantile * N)) lowest of the N candidates, ties for the last places
    broken at random. So quantile = 1 is a uniform draw from all candidates, and a flat map (all scores
    equal) is one too.

    Args:
        scores_BYX: float scores; +inf marks positions that are not candidates. No NaN.
        grid: the candidates that were scored.
        u_B: float64 uniform draws in [0, 1).
        quantile: tau in [0, 1]; higher lets more important regions be cut.

    Returns:
        index_B: int64 raster index into (Y, X).

    Raises:
        ValueError: quantile outside [0, 1].

    Example:
        >>> grid = candidates(torch.tensor([[1, 1]]), 1, 3, "inside")
        >>> below(torch.tensor([[[5.0, 1.0, 3.0]]]), grid, torch.tensor([0.6]), 0.7).tolist()
        [2]

    Source: Gong et al., CVPR 2021, Algorithm 1 (a) and Sec. 3, Remark.
    Differs from the paper: ranks instead of a strict comparison with the quantile, so the set is never
    empty; one draw instead of "repeat until".
    """
    _check_quantile(quantile)
    keep_S = (quantile * grid.count_S.double() + _ROUNDING).floor().long().clamp_min(1)
    return _draw_lowest(scores_BYX, keep_S, u_B)


def above(scores_BYX: Tensor, grid: Candidates, u_B: Tensor, quantile: float) -> Tensor:
    """Draw uniformly from the highest-scoring boxes: the region to paste back.

    Eligible are the K = max(1, ceil((1 - quantile) * N)) highest of the N candidates, ties at random;
    quantile = 0 is a uniform draw from all candidates.

    Args:
        scores_BYX: float scores; +inf marks positions that are not candidates. No NaN.
        grid: the candidates that were scored.
        u_B: float64 uniform draws in [0, 1).
        quantile: tau in [0, 1]; higher pastes more important regions.

    Returns:
        index_B: int64 raster index into (Y, X).

    Raises:
        ValueError: quantile outside [0, 1].

    Example:
        >>> grid = candidates(torch.tensor([[1, 1]]), 1, 3, "inside")
        >>> above(torch.tensor([[[5.0, 1.0, 3.0]]]), grid, torch.tensor([0.6]), 0.7).tolist()
        [0]

    Source: Gong et al., CVPR 2021, Algorithm 1 (b) and Sec. 3, Remark.
    Differs from the paper: as for :func:`below`.
    """
    _check_quantile(quantile)
    keep_S = (grid.count_S.double() * (1.0 - quantile) - _ROUNDING).ceil().long().clamp_min(1)
    return _draw_lowest(torch.where(scores_BYX == torch.inf, torch.inf, -scores_BYX), keep_S, u_B)


@declare(uses_saliency=False)
def anywhere(scores_BYX: Tensor | None, grid: Candidates, u_B: Tensor, quantile: float = 1.0) -> Tensor:
    """Draw uniformly from all candidates: the plain augmentation, as a control.

    Same draw, same box as ``below`` with quantile 1 and ``above`` with quantile 0.

    Args:
        scores_BYX: ignored; may be None.
        grid: the candidates.
        u_B: float64 uniform draws in [0, 1).
        quantile: ignored.

    Returns:
        index_B: int64 raster index into (Y, X), on the device of ``u_B``.

    Example:
        >>> anywhere(None, candidates(torch.tensor([[1, 1]]), 1, 4, "clip"), torch.tensor([0.5])).tolist()
        [2]

    Source: DeVries and Taylor, 2017 (Cutout).
    """
    del scores_BYX, quantile
    nth_B = (u_B * grid.count_S.to(u_B.device)).long()
    columns_S = grid.columns_S.to(u_B.device)
    return nth_B // columns_S * grid.x0_SX.shape[1] + nth_B % columns_S


def _draw_lowest(scores_BYX: Tensor, keep_S: Tensor, u_B: Tensor) -> Tensor:
    """Draw one of the K lowest, ties sharing the last places equally, by inverting the distribution.

    A candidate strictly below the K-th lowest score has weight 1; the T candidates that tie with it share
    the rest of K. This is the distribution of a uniform draw after random tie-breaking, from a single number.
    The row is drawn first, from the sums of the rows, then the column in it: the weights of all candidates are
    never written down.
    """
    limit_B1 = _kth_lowest(scores_BYX.flatten(1), keep_S)
    lower_BYX, tied_BYX = scores_BYX < limit_B1[:, :, None], scores_BYX == limit_B1[:, :, None]
    lower_BY, tied_BY = lower_BYX.sum(2), tied_BYX.sum(2)
    lower_B1, tied_B1 = lower_BY.sum(1, keepdim=True), tied_BY.sum(1, keepdim=True)
    keep_S1 = keep_S[:, None].to(scores_BYX.device, non_blocking=True)
    places_B1 = (keep_S1 - lower_B1).to(scores_BYX.dtype)
    # With nothing below, the ties share everything: whole weights, so that K = N gives floor(u * N) exactly.
    weight_B1 = torch.where(lower_B1 == 0, 1.0, places_B1 / tied_B1)
    until_BY = (lower_BY + tied_BY * weight_B1).cumsum(1)
    target_B1 = u_B.to(scores_BYX.device, scores_BYX.dtype, non_blocking=True)[:, None] * until_BY[:, -1:]
    row_B1, target_B1 = _invert(until_BY, target_B1)
    here_B1X = row_B1[:, :, None].expand(-1, -1, scores_BYX.shape[2])
    lower_BX, tied_BX = lower_BYX.gather(1, here_B1X)[:, 0], tied_BYX.gather(1, here_B1X)[:, 0]
    column_B1, _ = _invert((lower_BX + tied_BX * weight_B1).cumsum(1), target_B1)
    return (row_B1 * scores_BYX.shape[2] + column_B1)[:, 0]


def _invert(until_BN: Tensor, target_B1: Tensor) -> tuple[Tensor, Tensor]:
    """Find the first entry of each cumulative sum above a target, and what the entry leaves of the target."""
    total_B1 = until_BN[:, -1:].contiguous()
    target_B1 = torch.minimum(target_B1, torch.nextafter(total_B1, torch.zeros_like(total_B1)))
    index_B1 = torch.searchsorted(until_BN, target_B1, right=True)
    before_B1 = until_BN.gather(1, (index_B1 - 1).clamp_min(0)).masked_fill(index_B1 == 0, 0.0)
    return index_B1, target_B1 - before_B1


def _kth_lowest(scores_BN: Tensor, keep_S: Tensor) -> Tensor:
    if len(keep_S) == 1:
        return scores_BN.kthvalue(int(keep_S), dim=1, keepdim=True).values
    ranks_B1 = (keep_S - 1)[:, None].to(scores_BN.device, non_blocking=True)
    return scores_BN.sort(1).values.gather(1, ranks_B1)


def _check_quantile(quantile: float) -> None:
    if not (0.0 <= quantile <= 1.0) or math.isnan(quantile):
        raise ValueError(f"quantile must be in [0, 1], got {quantile}")
