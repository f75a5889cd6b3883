"""Random crops and flips of whole batches, on the device that holds the images."""

import torch
from torch import Tensor


def crop_flip(
    padded_NCHW: Tensor, index_B: Tensor, offsets_B2: Tensor, flips_B: Tensor, size: tuple[int, int]
) -> Tensor:
    """Cut one window out of each chosen image and mirror some of them.

    Args:
        padded_NCHW: images with their border.
        index_B: int64, which images to cut from.
        offsets_B2: int64 (top, left) of each window, pixels.
        flips_B: bool, whether to mirror each window.
        size: (height, width) of the windows, pixels.

    Returns:
        images_BCHW of the same dtype.

    Example:
        >>> image = torch.arange(4).view(1, 1, 2, 2)
        >>> crop_flip(image, torch.tensor([0]), torch.tensor([[0, 0]]), torch.tensor([True]), (1, 2)).flatten()
        tensor([1, 0])
    """
    height, width = size
    device = padded_NCHW.device
    rows_BH = offsets_B2[:, :1] + torch.arange(height, device=device)
    columns_BW = offsets_B2[:, 1:] + torch.arange(width, device=device)
    columns_BW = torch.where(flips_B[:, None], columns_BW.flip(1), columns_BW)
    channels_C = torch.arange(padded_NCHW.shape[1], device=device)
    return padded_NCHW[
        index_B[:, None, None, None],
        channels_C[:, None, None],
        rows_BH[:, None, :, None],
        columns_BW[:, None, None, :],
    ]
