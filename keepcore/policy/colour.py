"""Colour operations on uint8 batches, each image at a strength of its own. Shape legend: P images, 3 channels."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

ColourFn = Callable[[Tensor, Tensor], Tensor]


def brightness(images_PCHW: Tensor, factor_P: Tensor) -> Tensor:
    """Scale towards black (factor below 1) or away from it.

    Args:
        images_PCHW: uint8.
        factor_P: float64, not negative.

    Returns:
        images_PCHW, uint8, a new tensor; so do all functions here.

    Source: torchvision v2 adjust_brightness.
    """
    return _to_uint8(images_PCHW * _put(factor_P.float(), images_PCHW))


def colour(images_PCHW: Tensor, factor_P: Tensor) -> Tensor:
    """Blend with the grey version: factor 0 is grey, 1 the image.

    Source: torchvision v2 adjust_saturation; arguments as for :func:`brightness`.
    """
    return _blend(images_PCHW, _grey(images_PCHW), factor_P)


def contrast(images_PCHW: Tensor, factor_P: Tensor) -> Tensor:
    """Blend with the mean grey: factor 0 is one flat grey, 1 the image.

    Source: torchvision v2 adjust_contrast; arguments as for :func:`brightness`.
    """
    return _blend(images_PCHW, _grey(images_PCHW).mean((1, 2, 3), keepdim=True), factor_P)


def sharpness(images_PCHW: Tensor, factor_P: Tensor) -> Tensor:
    """Blend with a smoothed version (3 x 3, centre 5/13, others 1/13); the border stays.

    Source: torchvision v2 adjust_sharpness; arguments as for :func:`brightness`.
    """
    if min(images_PCHW.shape[-2:]) <= 2:
        return images_PCHW.clone()
    images = images_PCHW.float()
    inner = images[..., 1:-1, 1:-1]
    smooth = ((F.avg_pool2d(images, 3, stride=1, divisor_override=1) + 4 * inner) / 13).round()
    images[..., 1:-1, 1:-1] = torch.addcmul(inner, smooth - inner, _put((1 - factor_P).float(), images))
    return _to_uint8(images)


def posterize(images_PCHW: Tensor, bits_P: Tensor) -> Tensor:
    """Keep the highest bits of every value.

    Args:
        images_PCHW: uint8.
        bits_P: float64 whole numbers in [0, 8].

    Source: torchvision v2 posterize.
    """
    mask_P = 256 - 2 ** (8 - bits_P.long().clamp(0, 8))
    return images_PCHW & _put(mask_P.clamp(max=255).to(torch.uint8), images_PCHW)


def solarize(images_PCHW: Tensor, threshold_P: Tensor) -> Tensor:
    """Invert the values from a threshold on.

    Args:
        images_PCHW: uint8.
        threshold_P: float64 in [0, 256].

    Source: torchvision v2 solarize.
    """
    bright = images_PCHW >= _put(threshold_P.float(), images_PCHW)
    return torch.where(bright, 255 - images_PCHW, images_PCHW)


def invert(images_PCHW: Tensor, unused_P: Tensor) -> Tensor:
    """Invert all values.

    Source: torchvision v2 invert.
    """
    return 255 - images_PCHW


def autocontrast(images_PCHW: Tensor, unused_P: Tensor) -> Tensor:
    """Stretch each channel to 0 - 255; a flat channel stays.

    Source: torchvision v2 autocontrast.
    """
    images = images_PCHW.float()
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    flat = low == high
    scale = torch.where(flat, 1.0, (high - low) * (1 / 255))
    return _to_uint8((images - torch.where(flat, 0.0, low)) / scale)


def equalize(images_PCHW: Tensor, unused_P: Tensor) -> Tensor:
    """Flatten each channel's histogram with Pillow's integer table; a channel of too few values stays.

    Source: Pillow ImageOps.equalize; torchvision v2 equalize.
    """
    flat_PCN = images_PCHW.flatten(2).long()
    count = torch.zeros(*flat_PCN.shape[:2], 256, dtype=torch.int32, device=flat_PCN.device)
    count.scatter_add_(2, flat_PCN, torch.ones_like(flat_PCN, dtype=torch.int32))
    last = count.gather(2, flat_PCN.amax(2, keepdim=True))  # how often the largest value occurs
    step = (flat_PCN.shape[2] - last).div(255, rounding_mode="floor")
    before = count.cumsum(2, dtype=torch.int32) - count
    table = ((before + step // 2) // step.clamp_min(1)).clamp_max(255)
    table = torch.where(step == 0, torch.arange(256, device=table.device, dtype=table.dtype), table)
    return table.to(torch.uint8).gather(2, flat_PCN).view_as(images_PCHW)


COLOURS: dict[str, ColourFn] = {
    "Brightness": brightness,
    "Color": colour,
    "Contrast": contrast,
    "Sharpness": sharpness,
    "Posterize": posterize,
    "Solarize": solarize,
    "AutoContrast": autocontrast,
    "Equalize": equalize,
    "Invert": invert,
}


def erase_squares(images_PCHW: Tensor, side_P: Tensor, centre_P2: Tensor, fill_C11: Tensor) -> Tensor:
    """Fill a square around a point, clipped at the border.

    Args:
        images_PCHW: uint8.
        side_P: float64 even numbers of pixels.
        centre_P2: float64 (row, column) in [0, 1) of height and width.
        fill_C11: colour, uint8.

    Source: google-research/uda image/randaugment (Cutout as one of RandAugment's operations).
    """
    height, width = images_PCHW.shape[-2:]
    middle_P2 = (centre_P2 * torch.tensor([height, width])).floor()
    half_P1 = (side_P / 2).floor()[:, None]
    low_P2, high_P2 = ((middle_P2 + s * half_P1).to(images_PCHW.device, non_blocking=True) for s in (-1, 1))
    row_H, column_W = (torch.arange(n, device=images_PCHW.device) for n in (height, width))
    rows_PH = (row_H >= low_P2[:, :1]) & (row_H < high_P2[:, :1])
    columns_PW = (column_W >= low_P2[:, 1:]) & (column_W < high_P2[:, 1:])
    return torch.where((rows_PH[:, :, None] & columns_PW[:, None])[:, None], fill_C11, images_PCHW)


def _put(values_P: Tensor, like: Tensor) -> Tensor:
    """Move to the images' device, ready to meet P x C x H x W."""
    return values_P.to(like.device, non_blocking=True)[..., None, None, None]


def _grey(images_PCHW: Tensor) -> Tensor:
    red, green, blue = images_PCHW.float().unbind(1)
    return (red * 0.2989).add(green, alpha=0.587).add(blue, alpha=0.114).floor().unsqueeze(1)


def _blend(images_PCHW: Tensor, other: Tensor, factor_P: Tensor) -> Tensor:
    own, rest = factor_P.float(), (1 - factor_P).float()
    return _to_uint8(torch.addcmul(images_PCHW * _put(own, images_PCHW), other, _put(rest, images_PCHW)))


def _to_uint8(values: Tensor) -> Tensor:
    return values.clamp(0, 255).to(torch.uint8)
