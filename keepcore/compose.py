"""Combines two images along a box: the one kernel behind cutting, erasing, pasting and CutMix.

Images are normalised floats, B x C x H x W; arguments are never modified.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from keepcore.boxes import box_mask
from keepcore.traits import declare

FillFn = Callable[[Tensor, torch.Generator], Tensor]


class Layers(NamedTuple):
    """Inputs of a composer.

    Attributes:
        clean_BCHW: the images whose saliency was computed.
        base_BCHW: the images to change: an augmented version of the clean ones, or the clean ones themselves.
        partner_BCHW: for each image, another one of the batch; None unless the composer declares
            ``needs_partner``.
        fill: returns the content of cut regions.
        generator: generator of noise, on the images' device.
    """

    clean_BCHW: Tensor
    base_BCHW: Tensor
    partner_BCHW: Tensor | None
    fill: FillFn
    generator: torch.Generator


class Composer(Protocol):
    """Builds the result from layers and boxes."""

    def __call__(self, layers: Layers, boxes_B4: Tensor) -> Tensor:
        """Return images_BCHW."""
        ...


def composite(inside_BCHW: Tensor, outside_BCHW: Tensor, boxes_B4: Tensor) -> Tensor:
    """Combine the inside of each box from one image with the outside from another.

    Args:
        inside_BCHW: float images, or anything that broadcasts to ``outside_BCHW``.
        outside_BCHW: float images.
        boxes_B4: int64 ``(y0, x0, y1, x1)``; an empty box takes nothing from ``inside``.

    Returns:
        images_BCHW: each pixel bit-equal to its source.

    Example:
        >>> one, zero = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
        >>> composite(one, zero, torch.tensor([[0, 0, 1, 2]]))[0, 0].tolist()
        [[1.0, 1.0], [0.0, 0.0]]

    Source: Gong et al., CVPR 2021, Eqs. 2 and 3.
    """
    mask_B1HW = box_mask(boxes_B4, *outside_BCHW.shape[-2:])[:, None]
    return torch.where(mask_B1HW, inside_BCHW.to(outside_BCHW.dtype), outside_BCHW)


def cut(layers: Layers, boxes_B4: Tensor) -> Tensor:
    """Fill the box: Cutout, Random Erasing.

    Source: Gong et al., CVPR 2021, Eq. 2.
    """
    return composite(layers.fill(layers.base_BCHW, layers.generator), layers.base_BCHW, boxes_B4)


def paste(layers: Layers, boxes_B4: Tensor) -> Tensor:
    """Paste the box of the clean image onto the augmented one.

    Raises:
        ValueError: there is no augmented image.

    Source: Gong et al., CVPR 2021, Eq. 3.
    """
    if layers.base_BCHW is layers.clean_BCHW:
        raise ValueError("paste needs the augmented images: pass augmented=..., or give KeepPaste a policy")
    return composite(layers.clean_BCHW, layers.base_BCHW, boxes_B4)


@declare(needs_partner=True)
def cutmix(layers: Layers, boxes_B4: Tensor) -> Tensor:
    """Fill the box with the same box of the partner image.

    Raises:
        ValueError: there is no partner, because a wrapper around this function hides what it needs.

    Source: Yun et al., ICCV 2019; Gong et al., CVPR 2021, Sec. 4.2.
    """
    if layers.partner_BCHW is None:
        raise ValueError(
            "cutmix needs a partner for each image: decorate the composer that calls it with "
            "keepcore.traits.declare(needs_partner=True)"
        )
    return composite(layers.partner_BCHW, layers.base_BCHW, boxes_B4)


def constant(value: float | Sequence[float] = 0.0) -> FillFn:
    """Fill with a constant, one number or one per channel (0 = the dataset mean of normalised images).

    Source: DeVries and Taylor, 2017; Zhong et al., AAAI 2020.
    """
    colour = torch.as_tensor(value, dtype=torch.float32).reshape(1, -1, 1, 1)

    def fill(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
        if colour.numel() not in (1, images_BCHW.shape[1]):
            raise ValueError(f"fill has {colour.numel()} channels, the images have {images_BCHW.shape[1]}")
        return colour.to(images_BCHW.device, images_BCHW.dtype, non_blocking=True)

    return fill


def image_mean(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Fill with the image's own mean colour.

    Source: the fill rule "mean" of random-erasing implementations, here per image.
    """
    return images_BCHW.mean((2, 3), keepdim=True)


def noise(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Fill with standard normal noise, independent per pixel and channel.

    Source: Zhong et al., AAAI 2020 (RE-R); normal on normalised images as in timm and torchvision.
    """
    return torch.randn(images_BCHW.shape, generator=generator, device=images_BCHW.device, dtype=images_BCHW.dtype)
