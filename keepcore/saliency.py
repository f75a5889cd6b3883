"""Saliency maps: the gradient of a score with respect to the image.

Images are normalised floats, B x C x H x W; maps are float32, B x H x W, non-negative.
Shape legend: B images, C channels, H W pixels, K classes.
"""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Protocol
from weakref import WeakSet

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keepcore.precision import in_callers_autocast, without_autocast

LogitsFn = Callable[[Tensor], Tensor]

ScoreFn = Callable[[Tensor, Tensor | None], Tensor]

SPARSE = 0.15  # share of pixels that are not zero below which maps are suspicious
_CHECKED: WeakSet[nn.Module] = WeakSet()


class SaliencyFn(Protocol):
    """Maps images to the importance of each pixel."""

    def __call__(self, logits_fn: LogitsFn, images_BCHW: Tensor, target_B: Tensor | None = None) -> Tensor:
        """Return map_BHW, float32, non-negative."""
        ...


def label_logit(logits_BK: Tensor, target_B: Tensor | None) -> Tensor:
    """Return the logit of each image's own label, or the weighted sum of the logits of soft or several labels.

    Args:
        logits_BK: float logits.
        target_B: int64 labels in [0, K), or float weights target_BK of the classes.

    Returns:
        score_B: float.

    Raises:
        ValueError: there are no labels, or they have another shape or type.

    Example:
        >>> label_logit(torch.tensor([[1.0, 2.0]]), torch.tensor([0])).tolist()
        [1.0]

    Source: Gong et al., CVPR 2021, Sec. 3, l_y(x).
    """
    if target_B is None:
        raise ValueError("the label's logit needs labels: pass target, or use the score 'max'")
    if is_soft(target_B, logits_BK):
        return (logits_BK * target_B).sum(1)
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
        target_B: int64 labels in [0, K), or float probabilities target_BK of the classes.

    Returns:
        score_B: float. Its gradient shrinks with confidence (factor 1 - p_y).

    Raises:
        ValueError: there are no labels, or they have another shape or type.

    Example:
        >>> label_loss(torch.zeros(1, 2), torch.tensor([0])).item() - math.log(2) < 1e-6
        True

    Source: Gong et al., CVPR 2021, Figure 4 ("Loss").
    """
    if target_B is None:
        raise ValueError("the loss needs labels: pass target, or use the score 'max'")
    target_B = target_B.to(logits_BK.dtype) if is_soft(target_B, logits_BK) else target_B
    return F.cross_entropy(logits_BK, target_B, reduction="none")


def multilabel_loss(logits_BK: Tensor, target_B: Tensor | None) -> Tensor:
    """Return each image's binary cross-entropy, summed over the classes, for images of several labels.

    Args:
        logits_BK: float logits.
        target_B: float target_BK in [0, 1].

    Returns:
        score_B: float.

    Raises:
        ValueError: there are no labels, or they have another shape or type.

    Example:
        >>> multilabel_loss(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])).item() - 2 * math.log(2) < 1e-6
        True

    Source: torch.nn.functional.binary_cross_entropy_with_logits.
    """
    if target_B is None or not is_soft(target_B, logits_BK):
        raise ValueError("the multi-label loss needs float targets of shape batch x classes")
    return F.binary_cross_entropy_with_logits(logits_BK, target_B.to(logits_BK.dtype), reduction="none").sum(1)


def is_soft(target_B: Tensor, logits_BK: Tensor) -> bool:
    """Return whether targets are weights of the classes instead of labels.

    Args:
        target_B: int64 labels, or float weights target_BK.
        logits_BK: logits that the targets belong to.

    Raises:
        ValueError: they are neither.

    Source: torch.nn.functional.cross_entropy, which distinguishes them in the same way.
    """
    soft = target_B.is_floating_point()
    expected = logits_BK.shape if soft else logits_BK.shape[:1]
    if target_B.shape != expected:
        raise ValueError(
            "labels must be int64 of shape batch, or float of shape batch x classes "
            f"({tuple(logits_BK.shape)}), got {target_B.dtype} of shape {tuple(target_B.shape)}"
        )
    return soft


def logits_of(output: object, count: int) -> Tensor:
    """Extract the logits from the output of a network.

    Args:
        output: a tensor, a mapping with the key ``logits``, or an object with the attribute ``logits``, as Hugging
            Face's networks return.
        count: number of images.

    Returns:
        logits_BK: float32, if they were half precision.

    Raises:
        ValueError: there are no logits of shape batch x classes.

    Source: transformers (ModelOutput).
    """
    found = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", output)
    if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != count:
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(output).__name__
        raise ValueError(f"logits_fn must return {count} x classes logits, got {shape}")
    return found.float() if found.dtype in (torch.bfloat16, torch.float16) else found


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
        target_B: int64 labels or float weights target_BK, for scores that need them.
        score: logits and labels -> score_B; label_logit, max_logit, label_loss, multilabel_loss or your own.

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
    check_images(images_BCHW)
    with torch.inference_mode(False), torch.enable_grad():
        images = images_BCHW.clone() if images_BCHW.is_inference() else images_BCHW.detach()
        images = images.requires_grad_()
        logits_BK = logits_of(in_callers_autocast(logits_fn, images)(images), len(images))
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
        ValueError: scale is not positive, upsample is unknown, or the network accepts a single image size.

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
        check_images(images_BCHW)
        height, width = images_BCHW.shape[-2:]
        size = (math.ceil(height * scale), math.ceil(width * scale))
        network = in_callers_autocast(logits_fn, images_BCHW)
        with without_autocast(images_BCHW):
            copy_BCYX = F.interpolate(
                images_BCHW.detach(), size, mode="bicubic", antialias=True, align_corners=False
            )
            map_B1YX = _of_any_size(saliency, network, copy_BCYX, target_B)[:, None]
            return F.interpolate(map_B1YX, (height, width), mode=upsample)[:, 0]

    return scaled


def _of_any_size(saliency: SaliencyFn, network: LogitsFn, copy_BCYX: Tensor, target_B: Tensor | None) -> Tensor:
    try:
        return saliency(network, copy_BCYX, target_B)
    except AssertionError as error:  # timm's answer to another image size
        height, width = copy_BCYX.shape[-2:]
        raise ValueError(
            f"the network does not take images of {height} x {width} px ({error}): use scale 1, or build it for "
            "any size (timm: dynamic_img_size=True for ViT, strict_img_size=False for Swin)"
        ) from error


def warn_if_sparse(map_BHW: Tensor, model: object) -> None:
    """Warn once per model if fewer than 15 % of the pixels of its first maps are not zero.

    That is what networks give whose blocks begin as identities (timm's ``zero_init_last``), until they are
    trained. Waits for the device at the first call for a model.

    Args:
        map_BHW: saliency maps.
        model: the network, a module or another function.

    Source: measured on timm's resnet18 and resnet50.
    """
    if not isinstance(model, nn.Module) or model in _CHECKED:
        return
    _CHECKED.add(model)
    share = float((map_BHW != 0).float().mean())
    if share < SPARSE:
        warnings.warn(
            f"only {share:.0%} of the pixels of {type(model).__name__}'s first saliency maps are not zero: boxes "
            "of an untrained network mean little; timm's ResNets need zero_init_last=False for other maps",
            stacklevel=2,
        )


def check_images(images_BCHW: Tensor) -> None:
    """Check that images are a batch of floats.

    Raises:
        ValueError: they are not.

    Source: the convention of this package.
    """
    if images_BCHW.ndim != 4 or not images_BCHW.is_floating_point():
        raise ValueError(
            "images must be normalised floats of shape batch x channels x height x width, got "
            f"{images_BCHW.dtype} of shape {tuple(images_BCHW.shape)}"
        )
