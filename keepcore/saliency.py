"""Saliency maps: the gradient of a score with respect to the image.

Images are normalised floats, B x C x H x W; maps are float32, B x H x W, non-negative.
Shape legend: B images, C channels, H W pixels, K classes.
"""

import math
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from keepcore.precision import in_callers_autocast, without_autocast

LogitsFn = Callable[[Tensor], Tensor]

ScoreFn = Callable[[Tensor, Tensor | None], Tensor]


class SaliencyFn(Protocol):
    """Maps images to the importance of each pixel."""

    def __call__(self, logits_fn: LogitsFn, images_BCHW: Tensor, target_B: Tensor | None = None) -> Tensor:
        """Return map_BHW, float32, non-negative."""
        ...


def label_logit(logits_BK: Tensor, target_B: Tensor | None) -> Tensor:
    """Return the logit of each image's own label.

    Args:
        logits_BK: float logits.
        target_B: int64 labels in [0, K).

    Returns:
        score_B: float.

    Raises:
        ValueError: there are no labels.

    Example:
        >>> label_logit(torch.tensor([[1.0, 2.0]]), torch.tensor([0])).tolist()
        [1.0]

    Source: Gong et al., CVPR 2021, Sec. 3, l_y(x).
    """
    if target_B is None:
        raise ValueError("the label's logit needs labels: pass target, or use the score 'max'")
    return logits_BK.gather(1, target_B[:, None])[:, 0]


def max_logit(logits_BK: Tensor, target_B: Tensor | None = None) -> Tensor:
    """Return each image's largest logit, for images without labels.

    Args:
        logits_BK: float logits.
        target_B: ignored.

    Returns:
        score_B: float.

    Example:
        >>> max_logit(torch.tensor([[1.0, 2.0]])).tolist()
        [2.0]

    Source: Gong et al., CVPR 2021, Sec. 4.3.
    """
    del target_B
    return logits_BK.amax(1)


def label_loss(logits_BK: Tensor, target_B: Tensor | None) -> Tensor:
    """Return each image's cross-entropy.

    Args:
        logits_BK: float logits.
        target_B: int64 labels in [0, K).

    Returns:
        score_B: float. Its gradient shrinks with confidence (factor 1 - p_y).

    Raises:
        ValueError: there are no labels.

    Example:
        >>> label_loss(torch.zeros(1, 2), torch.tensor([0])).item() - math.log(2) < 1e-6
        True

    Source: Gong et al., CVPR 2021, Figure 4 ("Loss").
    """
    if target_B is None:
        raise ValueError("the loss needs labels: pass target, or use the score 'max'")
    return F.cross_entropy(logits_BK, target_B, reduction="none")


def input_gradient(
    logits_fn: LogitsFn,
    images_BCHW: Tensor,
    target_B: Tensor | None = None,
    *,
    score: ScoreFn = label_logit,
) -> Tensor:
    """Measure each pixel's importance: |d score / d pixel|, maximum over channels.

    Weight gradients are neither computed nor touched. Works under ``no_grad`` and ``inference_mode``. Autocast
    applies to the network alone, see :func:`keepcore.precision.in_callers_autocast`. Pass
    a model through :func:`keepcore.borrowed` first.

    Args:
        logits_fn: images -> logits_BK. Any callable: a model, an early head, a re-ID classifier.
        images_BCHW: normalised floats; not modified, and they receive no gradient.
        target_B: int64 labels, for scores that need them.
        score: logits and labels -> score_B; label_logit, max_logit, label_loss or your own.

    Returns:
        map_BHW: float32, non-negative. NaN and infinite gradients are returned as they are.

    Raises:
        ValueError: images are not B x C x H x W floats, or the logits are not B x K.

    Example:
        >>> x = torch.ones(1, 3, 2, 2)
        >>> input_gradient(lambda t: t.flatten(1) * 2, x, torch.tensor([0]))[0].tolist()
        [[2.0, 0.0], [0.0, 0.0]]

    Source: Gong et al., CVPR 2021, Sec. 3, g_ij(x, y); Simonyan et al., 2014.
    """
    _check_images(images_BCHW)
    with torch.inference_mode(False), torch.enable_grad():
        images = images_BCHW.clone() if images_BCHW.is_inference() else images_BCHW.detach()
        images = images.requires_grad_()
        logits_BK = in_callers_autocast(logits_fn, images)(images)
        if not isinstance(logits_BK, Tensor) or logits_BK.ndim != 2 or len(logits_BK) != len(images):
            shape = tuple(logits_BK.shape) if isinstance(logits_BK, Tensor) else type(logits_BK).__name__
            raise ValueError(f"logits_fn must return {len(images)} x classes logits, got {shape}")
        with without_autocast(images):
            total = score(logits_BK, target_B).sum()
            (gradient_BCHW,) = torch.autograd.grad(total, images)
    return gradient_BCHW.abs().amax(1).float()


def at_scale(saliency: SaliencyFn, scale: float = 0.5, upsample: str = "nearest-exact") -> SaliencyFn:
    """Make a saliency function work on a resized copy of the images.

    Args:
        saliency: the function to wrap; any other wrapper may be inside.
        scale: size of the copy relative to the image, > 0. 0.5 needs a quarter of the work. Any image size
            works: the copy has ceil(H * scale) x ceil(W * scale) pixels.
        upsample: how the map returns to full size: ``"nearest-exact"`` or ``"bilinear"``.

    Returns:
        A saliency function whose map has the full size of the images.

    Raises:
        ValueError: scale is not positive, or upsample is unknown.

    Example:
        >>> small = at_scale(input_gradient, 0.5)
        >>> small(lambda t: t.mean((2, 3)), torch.rand(2, 3, 33, 33), torch.tensor([0, 1])).shape
        torch.Size([2, 33, 33])

    Source: Gong et al., CVPR 2021, Sec. 3.1 (low resolution) and 4 (half size, bicubic).
    Differs from the paper: the resize is antialiased; the paper does not say how the map returns to full
    size, here each pixel takes its low-resolution pixel's value.
    """
    if not scale > 0:
        raise ValueError(f"scale must be positive, got {scale}")
    if upsample not in ("nearest-exact", "bilinear"):
        raise ValueError(f"upsample must be 'nearest-exact' or 'bilinear', got {upsample!r}")

    def scaled(logits_fn: LogitsFn, images_BCHW: Tensor, target_B: Tensor | None = None) -> Tensor:
        _check_images(images_BCHW)
        height, width = images_BCHW.shape[-2:]
        size = (math.ceil(height * scale), math.ceil(width * scale))
        network = in_callers_autocast(logits_fn, images_BCHW)
        with without_autocast(images_BCHW):
            copy_BCYX = F.interpolate(
                images_BCHW.detach(), size, mode="bicubic", antialias=True, align_corners=False
            )
            map_B1YX = saliency(network, copy_BCYX, target_B)[:, None]
            return F.interpolate(map_B1YX, (height, width), mode=upsample)[:, 0]

    return scaled


def _check_images(images_BCHW: Tensor) -> None:
    if images_BCHW.ndim != 4 or not images_BCHW.is_floating_point():
        raise ValueError(
            "images must be normalised floats of shape batch x channels x height x width, got "
            f"{images_BCHW.dtype} of shape {tuple(images_BCHW.shape)}"
        )
