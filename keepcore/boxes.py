"""The one box convention: ``(y0, x0, y1, x1)``, half-open, pixels, int64.

Shape legend: B images, 4 box edges, H W pixels.
"""

import torch
from torch import Tensor


def box_mask(boxes_B4: Tensor, height: int, width: int) -> Tensor:
    """Mark the pixels inside each box.

    Args:
        boxes_B4: int64 boxes ``(y0, x0, y1, x1)``; an empty box (``y0 == y1``) marks nothing.
        height: rows of the image, pixels.
        width: columns of the image, pixels.

    Returns:
        mask_BHW: bool, True inside.

    Example:
        >>> box_mask(torch.tensor([[0, 1, 2, 3]]), 3, 4).int()[0].tolist()
        [[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]

    Source: Gong et al., CVPR 2021, Sec. 2, M(S).
    """
    y0_B11, x0_B11, y1_B11, x1_B11 = boxes_B4[:, :, None, None].unbind(1)
    rows_1H1 = torch.arange(height, device=boxes_B4.device)[None, :, None]
    cols_11W = torch.arange(width, device=boxes_B4.device)[None, None, :]
    return (rows_1H1 >= y0_B11) & (rows_1H1 < y1_B11) & (cols_11W >= x0_B11) & (cols_11W < x1_B11)


def box_area(boxes_B4: Tensor) -> Tensor:
    """Count the pixels of each box.

    Args:
        boxes_B4: int64 boxes ``(y0, x0, y1, x1)``.

    Returns:
        area_B: int64, pixels.

    Example:
        >>> box_area(torch.tensor([[0, 1, 2, 4]])).tolist()
        [6]
    """
    return (boxes_B4[:, 2] - boxes_B4[:, 0]) * (boxes_B4[:, 3] - boxes_B4[:, 1])


def kept_share(boxes_B4: Tensor, height: int, width: int) -> Tensor:
    """Compute the share of each image outside its box: the label weight of CutMix.

    Args:
        boxes_B4: int64 boxes ``(y0, x0, y1, x1)`` inside the image.
        height: rows of the image, pixels.
        width: columns of the image, pixels.

    Returns:
        lam_B: float32 in [0, 1], exact pixel count over image size.

    Example:
        >>> kept_share(torch.tensor([[0, 0, 2, 2]]), 4, 4).tolist()
        [0.75]

    Source: Gong et al., CVPR 2021, Sec. 4.2 ("lambda equals the uncorrupted percentage").
    """
    return (1.0 - box_area(boxes_B4).double() / (height * width)).float()


def to_xyxy(boxes_B4: Tensor) -> Tensor:
    """Convert to the ``(x0, y0, x1, y1)`` order of COCO, Detectron2 and torchvision.

    Args:
        boxes_B4: boxes ``(y0, x0, y1, x1)``.

    Returns:
        The same boxes as ``(x0, y0, x1, y1)``, half-open.

    Example:
        >>> to_xyxy(torch.tensor([[0, 1, 2, 3]])).tolist()
        [[1, 0, 3, 2]]
    """
    return boxes_B4[:, [1, 0, 3, 2]]
