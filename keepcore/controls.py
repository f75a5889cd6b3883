"""Controls: what a gain would also come from if the saliency of the image did not matter.

Shape legend: B images, H W pixels.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from keepcore.saliency import LogitsFn, SaliencyFn
from keepcore.traits import declare

CENTRE_WIDTH = 0.25  # standard deviation of the centre prior, as a share of each side


@declare(needs_generator=True)
def noise_map(
    logits_fn: LogitsFn, images_BCHW: Tensor, target_B: Tensor | None = None, *, generator: torch.Generator
) -> Tensor:
    """Return a map of independent uniform noise: boxes are selected, but by nothing.

    Args:
        logits_fn: ignored.
        images_BCHW: images; only their shape and device matter.
        target_B: ignored.
        generator: generator on the images' device.

    Returns:
        map_BHW: float32 in [0, 1).

    Source: a control of this package.
    """
    del logits_fn, target_B
    shape = (len(images_BCHW), *images_BCHW.shape[-2:])
    return torch.rand(shape, generator=generator, device=images_BCHW.device)


def centre_map(logits_fn: LogitsFn, images_BCHW: Tensor, target_B: Tensor | None = None) -> Tensor:
    """Return a Gaussian at the centre of the image, where photographers put their objects.

    Args:
        logits_fn: ignored.
        images_BCHW: images; only their shape and device matter.
        target_B: ignored.

    Returns:
        map_BHW: float32 in (0, 1], of standard deviation 0.25 of each side.

    Source: the centre bias of photographs, e.g. Judd et al., ICCV 2009, whose baseline it is.
    """
    del logits_fn, target_B
    batch, (height, width), device = len(images_BCHW), images_BCHW.shape[-2:], images_BCHW.device

    def profile(length: int) -> Tensor:
        at = (torch.arange(length, device=device, dtype=torch.float32) + 0.5) / length - 0.5
        return (-0.5 * (at / CENTRE_WIDTH).square()).exp()

    return (profile(height)[:, None] * profile(width)[None, :]).expand(batch, -1, -1)


def mean_map(saliency: SaliencyFn) -> SaliencyFn:
    """Make every image of a batch use the mean of their maps: where objects are in general, not in this image.

    Args:
        saliency: saliency function; of each map that is finite and not zero, the share of every pixel counts.

    Returns:
        A saliency function. It keeps no memory: the mean is that of the batch.

    Source: a control of this package.
    """

    def averaged(logits_fn: LogitsFn, images_BCHW: Tensor, target_B: Tensor | None = None, **more: Any) -> Tensor:
        map_BHW = saliency(logits_fn, images_BCHW, target_B, **more)
        total_B11 = map_BHW.sum((1, 2), keepdim=True)
        usable_B11 = total_B11.isfinite() & (total_B11 > 0)
        share_BHW = torch.where(usable_B11, map_BHW / total_B11, 0.0)
        mean_1HW = share_BHW.sum(0, keepdim=True) / usable_B11.sum().clamp_min(1)
        return mean_1HW.expand_as(map_BHW)

    return averaged


def other_boxes(boxes_B4: Tensor, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Give each image the box of the image before it in the batch.

    Args:
        boxes_B4: int64 ``(y0, x0, y1, x1)``.
        height: ignored.
        width: ignored.
        generator: ignored.

    Returns:
        boxes_B4: int64, the same boxes in another order.

    Source: a control of this package.
    """
    del height, width, generator
    return boxes_B4.roll(1, 0)


def random_places(boxes_B4: Tensor, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Move each box to a uniformly random place inside the image: its size is kept, its choice is not.

    Args:
        boxes_B4: int64 ``(y0, x0, y1, x1)``.
        height: rows of the image, pixels.
        width: columns of the image, pixels.
        generator: generator on the boxes' device.

    Returns:
        boxes_B4: int64, boxes of the same sizes.

    Source: a control of this package.
    """
    size_B2 = boxes_B4[:, 2:] - boxes_B4[:, :2]
    room_B2 = torch.stack([height - size_B2[:, 0], width - size_B2[:, 1]], 1) + 1
    u_B2 = torch.rand(size_B2.shape, generator=generator, device=boxes_B4.device, dtype=torch.float64)
    corner_B2 = (u_B2 * room_B2).long()
    return torch.cat([corner_B2, corner_B2 + size_B2], 1)


CONTROLS: dict[str, Callable[[Tensor, int, int, torch.Generator], Tensor]] = {
    "shuffled": other_boxes,
    "same_size": random_places,
}
"""Name -> (boxes_B4, height, width, generator) -> boxes_B4."""
