"""Draws the height and width of the region, separately from its position.

A size function takes ``(batch, height, width, generator)`` and returns ``sizes_S2`` on the generator's device:
int64 (height, width) rows in pixels, S = 1 when the whole batch shares one size, else S = batch.
Every draw is loop-free and consumes a fixed amount of randomness.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

SizeFn = Callable[[int, int, int, torch.Generator], Tensor]
Length = int | float | tuple[int, int]


def fixed(length: Length) -> SizeFn:
    """Use one size for all images.

    Args:
        length: pixels of a square (int), pixels (height, width), or a fraction of each side (float in (0, 1]).

    Returns:
        A size function with S = 1.

    Raises:
        ValueError: the length is not positive, or is a float above 1.

    Example:
        >>> fixed(0.5)(8, 32, 64, torch.Generator()).tolist()
        [[16, 32]]

    Source: Gong et al., CVPR 2021, Sec. 4 (16 on CIFAR-10, 40 on ImageNet).
    """
    parts = length if isinstance(length, tuple) else (length,)
    if not all(part > 0 for part in parts) or (isinstance(length, float) and length > 1):
        raise ValueError(f"length must be positive pixels (int) or a fraction in (0, 1] (float), got {length}")

    def size(batch: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        if isinstance(length, float):
            pixels = (max(1, round(height * length)), max(1, round(width * length)))
        else:
            pixels = length if isinstance(length, tuple) else (length, length)
        return torch.tensor([pixels])

    return size


def cutmix_size(alpha: float = 1.0, per: str = "batch") -> SizeFn:
    """Draw CutMix's box size: lambda ~ Beta(alpha, alpha), sides sqrt(1 - lambda) of the image, even.

    Args:
        alpha: shape of the Beta distribution, > 0.
        per: ``"batch"`` draws one size for all images, ``"image"`` one for each.

    Returns:
        A size function. Sides may be 0: an empty box, i.e. no mixing.

    Raises:
        ValueError: alpha is not positive, or ``per`` is unknown.

    Example:
        >>> cutmix_size()(4, 32, 32, torch.Generator().manual_seed(0)).shape
        torch.Size([1, 2])

    Source: Yun et al., ICCV 2019; the even side is that of clovaai/CutMix-PyTorch's rand_bbox.
    """
    if not alpha > 0:
        raise ValueError(f"alpha must be positive, got {alpha}")
    if per not in ("batch", "image"):
        raise ValueError(f"per must be 'batch' or 'image', got {per!r}")

    def size(batch: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        lam_S = symmetric_beta(alpha, 1 if per == "batch" else batch, generator)
        ratio_S1 = (1.0 - lam_S).clamp(0, 1).sqrt()[:, None]
        image_12 = torch.tensor([[height, width]], dtype=torch.float64, device=generator.device)
        return 2 * ((image_12 * ratio_S1).long() // 2)

    return size


def erasing_size(
    area: tuple[float, float] = (0.02, 1 / 3),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
    *,
    log_aspect: bool = True,
    tries: int = 10,
) -> SizeFn:
    """Draw Random Erasing's box size, one for each image.

    Args:
        area: smallest and largest share of the image, in (0, 1].
        aspect: smallest and largest height / width, > 0.
        log_aspect: draw the aspect log-uniformly (torchvision, timm); False: uniformly (re-ID strong baseline).
        tries: proposals per image; the first one strictly smaller than the image is used. If there is none,
            the size is 0 and nothing is erased.

    Returns:
        A size function with S = batch.

    Raises:
        ValueError: a range is empty or outside its bounds, or tries is below 1.

    Example:
        >>> erasing_size()(4, 32, 32, torch.Generator().manual_seed(0)).shape
        torch.Size([4, 2])

    Source: Zhong et al., AAAI 2020, Algorithm 1; torchvision RandomErasing.
    """
    if not 0 < area[0] <= area[1] <= 1:
        raise ValueError(f"area must be an increasing range in (0, 1], got {area}")
    if not 0 < aspect[0] <= aspect[1]:
        raise ValueError(f"aspect must be an increasing range of positive ratios, got {aspect}")
    if tries < 1:
        raise ValueError(f"tries must be at least 1, got {tries}")

    def size(batch: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        u_BT2 = _uniform((batch, tries, 2), generator)
        pixels_BT = height * width * (area[0] + (area[1] - area[0]) * u_BT2[..., 0])
        low, high = (math.log(edge) if log_aspect else edge for edge in aspect)
        aspect_BT = low + (high - low) * u_BT2[..., 1]
        aspect_BT = aspect_BT.exp() if log_aspect else aspect_BT
        h_BT = (pixels_BT * aspect_BT).sqrt().round().long()
        w_BT = (pixels_BT / aspect_BT).sqrt().round().long()
        fits_BT = (h_BT < height) & (w_BT < width)
        first_B1 = fits_BT.int().argmax(1, keepdim=True)
        sizes_B2 = torch.stack([h_BT, w_BT], 2).gather(1, first_B1[..., None].expand(-1, -1, 2))[:, 0]
        return sizes_B2 * fits_BT.any(1, keepdim=True)

    return size


def symmetric_beta(alpha: float, count: int, generator: torch.Generator) -> Tensor:
    """Draw from Beta(alpha, alpha) without a rejection loop, from an explicit generator.

    Args:
        alpha: shape, > 0.
        count: number of draws.
        generator: source of randomness; two uniforms per draw.

    Returns:
        lam_S: float64 in [0, 1].

    Example:
        >>> symmetric_beta(1.0, 3, torch.Generator().manual_seed(0)).shape
        torch.Size([3])

    Source: Devroye, "Random variate generation in one line of code", WSC 1996.
    """
    u_2S = _uniform((2, count), generator)
    cosine_S = (2 * math.pi * u_2S[1]).cos().square()
    spread_S = (u_2S[0].clamp_min(1e-300) ** (-1.0 / alpha) - 1.0) * cosine_S
    sign_S = torch.where(_uniform((count,), generator) < 0.5, -1.0, 1.0)
    return 0.5 + sign_S * 0.5 / (1.0 + 1.0 / spread_S).sqrt()


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
