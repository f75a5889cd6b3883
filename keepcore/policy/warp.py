"""Shear, translate and rotate: every image by a matrix of its own, in one gather.

A matrix maps output to input coordinates, in pixels from the image's centre. Shape legend: P images.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

MatrixFn = Callable[[Tensor, int, int], Tensor]


def shear_x(slope_P: Tensor, height: int, width: int) -> Tensor:
    """Shear rows against the top edge.

    Args:
        slope_P: float64 pixels per row.
        height: pixels.
        width: pixels.

    Returns:
        matrix_P23, float64.

    Source: Cubuk et al., 2019; torchvision v2 AutoAugment.
    """
    return _matrix(slope_P, xy=slope_P, x=slope_P * height / 2)


def shear_y(slope_P: Tensor, height: int, width: int) -> Tensor:
    """Shear columns against the left edge.

    Args:
        slope_P: float64 pixels per column.
        height: pixels.
        width: pixels.

    Returns:
        matrix_P23, float64.

    Source: Cubuk et al., 2019; torchvision v2 AutoAugment.
    """
    return _matrix(slope_P, yx=slope_P, y=slope_P * width / 2)


def translate_x(shift_P: Tensor, height: int, width: int) -> Tensor:
    """Move to the right.

    Args:
        shift_P: float64 pixels; the fraction is cut off.
        height: pixels.
        width: pixels.

    Returns:
        matrix_P23, float64.

    Source: torchvision v2 AutoAugment.
    """
    return _matrix(shift_P, x=-shift_P.trunc())


def translate_y(shift_P: Tensor, height: int, width: int) -> Tensor:
    """Move down. As :func:`translate_x`.

    Source: torchvision v2 AutoAugment.
    """
    return _matrix(shift_P, y=-shift_P.trunc())


def rotate(degrees_P: Tensor, height: int, width: int) -> Tensor:
    """Turn counter-clockwise about the centre.

    Args:
        degrees_P: float64.
        height: pixels.
        width: pixels.

    Returns:
        matrix_P23, float64.

    Source: torchvision v2 rotate.
    """
    angle_P = degrees_P.deg2rad()
    cos_P, sin_P = angle_P.cos(), angle_P.sin()
    return _matrix(angle_P, xx=cos_P, xy=-sin_P, yx=sin_P, yy=cos_P)


def _matrix(like_P: Tensor, **entries: Tensor) -> Tensor:
    zero_P, one_P = torch.zeros_like(like_P), torch.ones_like(like_P)
    default = {"xx": one_P, "xy": zero_P, "x": zero_P, "yx": zero_P, "yy": one_P, "y": zero_P}
    return torch.stack(list((default | entries).values()), 1).view(-1, 2, 3)


MATRICES: dict[str, MatrixFn] = {
    "ShearX": shear_x,
    "ShearY": shear_y,
    "TranslateX": translate_x,
    "TranslateY": translate_y,
    "Rotate": rotate,
}


def warp(images_PCHW: Tensor, matrix_P23: Tensor, fill: Sequence[int]) -> Tensor:
    """Sample every image at the nearest pixel of its matrix.

    Args:
        images_PCHW: any type.
        matrix_P23: output to input, pixels from the centre.
        fill: colour of what lies outside, one value a channel.

    Returns:
        images_PCHW, a copy.

    Source: torchvision v2 affine, rotate (nearest), the same rounding in float32.
    """
    height, width = images_PCHW.shape[-2:]
    device = images_PCHW.device
    half_2 = torch.tensor([width / 2, height / 2])
    # normalised to [-1, 1] and back, as torch's grid_sample does: the same ties go the same way
    matrix_P32 = (matrix_P23.float() / half_2[:, None]).to(device, non_blocking=True).transpose(1, 2)
    x_W = torch.linspace(0.5 - width / 2, width / 2 - 0.5, width, device=device)
    y_H = torch.linspace(0.5 - height / 2, height / 2 - 0.5, height, device=device)
    grid_HW3 = torch.stack([x_W.expand(height, width), y_H[:, None].expand(height, width)], -1)
    grid_HW3 = torch.cat([grid_HW3, torch.ones_like(grid_HW3[..., :1])], -1)
    place_PN2 = grid_HW3.view(1, -1, 3) @ matrix_P32
    column_PN = (((place_PN2[..., 0] + 1) * width - 1) / 2).round().long()
    row_PN = (((place_PN2[..., 1] + 1) * height - 1) / 2).round().long()
    inside_PN = (column_PN >= 0) & (column_PN < width) & (row_PN >= 0) & (row_PN < height)
    index_PN = row_PN.clamp(0, height - 1) * width + column_PN.clamp(0, width - 1)
    flat_PCN = images_PCHW.flatten(2)
    pixels_PCN = flat_PCN.gather(2, index_PN[:, None].expand_as(flat_PCN))
    fill_C1 = torch.tensor(fill, dtype=images_PCHW.dtype).to(device, non_blocking=True)[:, None]
    return torch.where(inside_PN[:, None], pixels_PCN, fill_C1).view_as(images_PCHW)
