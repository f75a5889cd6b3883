"""Score every candidate box of a map, exactly.

Shape legend: B images, H W pixels, Y X candidate positions, S = 1 (one size for the batch) or B.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

BORDERS = ("inside", "clip")


class Candidates(NamedTuple):
    """Edges of every box that may be drawn, all of them int64 on the CPU.

    Attributes:
        y0_SY, y1_SY, x0_SX, x1_SX: edges of the rows and columns of the candidate grid, pixels, half-open.
        valid_y_SY, valid_x_SX: bool; None when every grid position is a candidate (always for S = 1).
        count_S: number of candidates.
        columns_S: number of candidates in each row of the grid.
    """

    y0_SY: Tensor
    y1_SY: Tensor
    x0_SX: Tensor
    x1_SX: Tensor
    valid_y_SY: Tensor | None
    valid_x_SX: Tensor | None
    count_S: Tensor
    columns_S: Tensor


def candidates(sizes_S2: Tensor, height: int, width: int, border: str) -> Candidates:
    """List every box of a size that the border rule allows.

    Args:
        sizes_S2: int64 (height, width) of the boxes, pixels, on the CPU.
        height: rows of the image.
        width: columns of the image.
        border: ``"inside"``: boxes lie wholly in the image, (H - h + 1) x (W - w + 1) of them.
            ``"clip"``: every one of the H x W pixels is a centre and the box is clipped (Cutout's rule).

    Returns:
        The candidate grid, in raster order.

    Raises:
        ValueError: the border is unknown, or a box is larger than the image and the border is ``"inside"``.

    Example:
        >>> candidates(torch.tensor([[2, 2]]), 3, 4, "inside").count_S.tolist()
        [6]

    Source: Gong et al., CVPR 2021, Sec. 3, Remark ("all possible candidate regions").
    Differs from the paper: it does not state its border rule.
    """
    if border not in BORDERS:
        raise ValueError(f"border must be one of {', '.join(BORDERS)}, got {border!r}")
    y0, y1, valid_y, rows = _axis(sizes_S2[:, 0], height, border)
    x0, x1, valid_x, columns = _axis(sizes_S2[:, 1], width, border)
    return Candidates(y0, y1, x0, x1, valid_y, valid_x, rows * columns, columns)


def _axis(sizes_S: Tensor, length: int, border: str) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    if border == "clip":
        start_SY = torch.arange(length)[None] - sizes_S[:, None] // 2
        end_SY = start_SY + sizes_S[:, None]
        return start_SY.clamp(0, length), end_SY.clamp(0, length), None, torch.full_like(sizes_S, length)
    largest, smallest = int(sizes_S.max()), int(sizes_S.min())
    if largest > length:
        raise ValueError(f"a box of {largest} px does not fit inside an image of {length} px")
    start_SY = torch.arange(length - smallest + 1)[None].expand(len(sizes_S), -1)
    end_SY = start_SY + sizes_S[:, None]
    valid_SY = end_SY <= length if largest > smallest else None
    return start_SY, end_SY.clamp(max=length), valid_SY, length - sizes_S + 1


def box_scores(map_BHW: Tensor, grid: Candidates, reduce: str = "sum") -> Tensor:
    """Sum the saliency in every candidate box.

    Two running sums (an integral image, one axis at a time) in float64: cost does not depend on box size.

    Args:
        map_BHW: float saliency, finite.
        grid: the candidates, S = 1 or B.
        reduce: ``"sum"``, or ``"mean"`` over the box's pixels (they differ for clipped boxes only).

    Returns:
        scores_BYX: float64 (float32 on devices without float64); grid positions that are not candidates
        have the score +inf.

    Raises:
        ValueError: reduce is unknown.

    Example:
        >>> ones = torch.ones(1, 3, 3)
        >>> box_scores(ones, candidates(torch.tensor([[2, 2]]), 3, 3, "inside"))[0].tolist()
        [[4.0, 4.0], [4.0, 4.0]]

    Source: Gong et al., CVPR 2021, Eq. 1, I(S, x, y).
    """
    if reduce not in ("sum", "mean"):
        raise ValueError(f"reduce must be 'sum' or 'mean', got {reduce!r}")
    device = map_BHW.device
    map_BHW = map_BHW.to(torch.float32 if device.type == "mps" else torch.float64)
    bands_BYW = _window_sums(map_BHW, grid.y0_SY, grid.y1_SY, 1)
    scores_BYX = _window_sums(bands_BYW, grid.x0_SX, grid.x1_SX, 2)
    if reduce == "mean":
        y0_SY, y1_SY, x0_SX, x1_SX = (edge.to(device, non_blocking=True) for edge in grid[:4])
        area_SYX = (y1_SY - y0_SY)[:, :, None] * (x1_SX - x0_SX)[:, None, :]
        scores_BYX = scores_BYX / area_SYX.clamp_min(1)
    if grid.valid_y_SY is not None:
        scores_BYX = scores_BYX.masked_fill(~grid.valid_y_SY.to(device, non_blocking=True)[:, :, None], torch.inf)
    if grid.valid_x_SX is not None:
        scores_BYX = scores_BYX.masked_fill(~grid.valid_x_SX.to(device, non_blocking=True)[:, None, :], torch.inf)
    return scores_BYX


def _window_sums(values: Tensor, start_SY: Tensor, end_SY: Tensor, dim: int) -> Tensor:
    """Sum the entries start..end of each window along a dimension, which becomes that of the windows."""
    shape = list(values.shape)
    shape[dim] += 1
    running = values.new_empty(shape)
    running.narrow(dim, 0, 1).zero_()
    torch.cumsum(values, dim, out=running.narrow(dim, 1, values.shape[dim]))
    shape[dim] = start_SY.shape[1]
    if len(start_SY) > 1:
        start, end = (
            edge.to(values.device, non_blocking=True).unsqueeze(3 - dim).expand(shape)
            for edge in (start_SY, end_SY)
        )
        return running.gather(dim, end) - running.gather(dim, start)
    sums = values.new_empty(shape)
    for first, count, low, moves, high, ends_move in _pieces(start_SY[0].tolist(), end_SY[0].tolist()):
        lower = running.narrow(dim, low, count if moves else 1)
        upper = running.narrow(dim, high, count if ends_move else 1)
        target = sums.narrow(dim, first, count)
        if moves or ends_move:
            torch.sub(upper, lower, out=target)
        else:
            target.copy_(upper - lower)
    return sums


def _pieces(start: list[int], end: list[int]) -> Iterator[tuple[int, int, int, bool, int, bool]]:
    """Split windows into runs whose edges both stand still or both move by one: at most three of them.

    Yields:
        First window, number of windows, first start, whether the starts move, first end, whether the ends move.
    """
    first = 0
    while first < len(start):
        last = first + 1
        moves = ends_move = False
        if last < len(start):
            moves, ends_move = start[last] > start[first], end[last] > end[first]
            while last < len(start) and (start[last] > start[last - 1], end[last] > end[last - 1]) == (
                moves,
                ends_move,
            ):
                last += 1
        yield first, last - first, start[first], moves, end[first], ends_move
        first = last


def box_at(index_B: Tensor, grid: Candidates) -> Tensor:
    """Look up boxes by their raster index in the candidate grid.

    Args:
        index_B: int64 in [0, Y * X), on any device.
        grid: the candidates, S = 1 or B.

    Returns:
        boxes_B4: int64 ``(y0, x0, y1, x1)``, on the device of ``index_B``.

    Example:
        >>> box_at(torch.tensor([4]), candidates(torch.tensor([[2, 2]]), 3, 4, "inside")).tolist()
        [[1, 1, 3, 3]]
    """
    columns = grid.x0_SX.shape[1]
    row_B1, column_B1 = (index_B // columns)[:, None], (index_B % columns)[:, None]

    def look_up(edges: Tensor, at_B1: Tensor) -> Tensor:
        edges = edges.to(index_B.device, non_blocking=True).expand(len(index_B), -1)
        return edges.gather(1, at_B1)

    edges = [look_up(grid.y0_SY, row_B1), look_up(grid.x0_SX, column_B1)]
    edges += [look_up(grid.y1_SY, row_B1), look_up(grid.x1_SX, column_B1)]
    return torch.cat(edges, 1)
