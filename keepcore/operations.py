"""The operations of the paper: Cutout, Random Erasing, CutMix and paste, each with its Keep version's choices.

Every constructor takes the same options (``KeepOptions``): where the saliency comes from and how a box is chosen.
"""

from collections.abc import Callable
from typing import TypedDict, Unpack

from torch import Tensor

from keepcore.compose import FillFn, constant, cut, cutmix, paste
from keepcore.early_head import HeadFn
from keepcore.keep import KeepAugment
from keepcore.regions import Selector, above, below
from keepcore.saliency import SaliencyFn
from keepcore.sizes import Length, SizeFn, cutmix_size, erasing_size, fixed


class KeepOptions(TypedDict, total=False):
    """Options of every operation: where the saliency comes from, and how a box is chosen."""

    quantile: float
    selector: Selector
    saliency: SaliencyFn
    head: HeadFn
    bn: str
    border: str
    reduce: str
    match: str
    control: str


def KeepCutout(length: Length = 16, *, fill: FillFn | None = None, **options: Unpack[KeepOptions]) -> KeepAugment:
    """Cut a square from an unimportant part of the image.

    Args:
        length: side in pixels (int), (height, width), or a fraction of each side (float).
        fill: colour; default 0, the dataset mean of normalised images.
        **options: quantile (0.6), border (``"clip"``: Cutout's own rule), saliency, head, bn, reduce, selector.

    Returns:
        The operation; ``selector=anywhere`` or ``quantile=1`` makes it plain Cutout.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> KeepCutout(16).quantile
        0.6

    Source: Gong et al., CVPR 2021, Algorithm 1 (a); DeVries and Taylor, 2017.
    Differs from the paper: it does not state the border rule; clipping is the baseline's.
    """
    choices: KeepOptions = {"selector": below, "border": "clip", **options}
    return KeepAugment(size=fixed(length), composer=cut, fill=fill or constant(), **choices)


def KeepRandomErasing(
    prob: float = 0.5, *, size: SizeFn | None = None, fill: FillFn | None = None, **options: Unpack[KeepOptions]
) -> KeepAugment:
    """Erase a rectangle of random size from an unimportant part of the image.

    Args:
        prob: probability per image; saliency is computed only for the selected images.
        size: default :func:`keepcore.sizes.erasing_size` with area 0.02-1/3 and aspect 0.3-3.3.
        fill: ``constant(...)`` (default 0), ``image_mean`` or ``noise``.
        **options: quantile (0.6), border (``"inside"``), saliency, head, bn, reduce, selector.

    Returns:
        The operation.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> KeepRandomErasing(0.5).prob
        0.5

    Source: Gong et al., CVPR 2021, Sec. 4.4; Zhong et al., AAAI 2020.
    """
    choices: KeepOptions = {"selector": below, "border": "inside", **options}
    size = size or erasing_size()
    return KeepAugment(size=size, composer=cut, prob=prob, fill=fill or constant(), **choices)


def KeepCutMix(
    alpha: float = 1.0, *, prob: float = 1.0, per: str = "batch", **options: Unpack[KeepOptions]
) -> KeepAugment:
    """Replace an unimportant region of an image by the same region of another image.

    Args:
        alpha: lambda ~ Beta(alpha, alpha).
        prob: probability of mixing.
        per: ``"batch"``: whether to mix and the box size are drawn once per batch; ``"image"``: for each image.
            The position is always each image's own.
        **options: quantile (0.6), border (``"clip"``), saliency, head, bn, reduce, selector.

    Returns:
        The operation; use ``kept.target(labels, num_classes)`` for the loss.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> KeepCutMix().coin
        'batch'

    Source: Gong et al., CVPR 2021, Sec. 4.2; Yun et al., ICCV 2019.
    Differs from the paper: it states neither. As in clovaai's code, the size is drawn per batch; unlike there, the
    position, and therefore lambda, is drawn per image.
    """
    choices: KeepOptions = {"selector": below, "border": "clip", **options}
    return KeepAugment(size=cutmix_size(alpha, per), composer=cutmix, prob=prob, coin=per, **choices)


def KeepPaste(
    length: Length = 16,
    *,
    policy: Callable[[Tensor], Tensor] | None = None,
    prob: float = 1.0,
    **options: Unpack[KeepOptions],
) -> KeepAugment:
    """Paste the important region of the clean image back on its augmented version.

    With RandAugment or AutoAugment in the data workers (see :class:`keepcore.TwoViews`) this is
    KeepRandAugment or KeepAutoAugment.

    Args:
        length: side in pixels: 16 on CIFAR-10, 40 on ImageNet; or a fraction.
        policy: batch -> batch on the device, for augmentations that run there; None: pass ``augmented``.
        prob: probability per image that the region is pasted back; otherwise the augmented image stays as it is.
        **options: quantile (0.6), border (``"inside"``), saliency, head, bn, reduce, selector.

    Returns:
        The operation; ``selector=anywhere`` or ``quantile=0`` pastes a random region.

    Raises:
        ValueError: an option is out of range.

    Example:
        >>> KeepPaste(16, policy=lambda images: -images).border
        'inside'

    Source: Gong et al., CVPR 2021, Algorithm 1 (b), Eq. 3.
    """
    choices: KeepOptions = {"selector": above, "border": "inside", **options}
    return KeepAugment(size=fixed(length), composer=paste, policy=policy, prob=prob, **choices)
