"""Baselines that change a batch: Mixup, Manifold Mixup, GridMask and Attentive CutMix.

Shape legend: B images, K classes, G grid cells along one side.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keepcore import borrowed, without_early_head
from keepcore.build import choose
from keepcore.sizes import symmetric_beta
from pretrain.config import Baseline


class Batch(NamedTuple):
    """Input of a baseline.

    Attributes:
        model: the network in training.
        images_BCHW: normalised floats.
        labels_B: int64.
        num_classes: number of classes, K.
        progress: fraction of training done, in [0, 1].
        generator: random generator on the CPU.
    """

    model: nn.Module
    images_BCHW: Tensor
    labels_B: Tensor
    num_classes: int
    progress: float
    generator: torch.Generator


class Mixed(NamedTuple):
    """Output of a baseline.

    Attributes:
        images_BCHW: images to train on.
        target: labels_B or soft target_BK.
        during: context manager for the network's forward pass.
    """

    images_BCHW: Tensor
    target: Tensor
    during: AbstractContextManager[Any] = nullcontext()


Mixer = Callable[[Batch], Mixed]


def mixup(alpha: float, layers: tuple[str, ...] = ("",)) -> Mixer:
    """Mix each image, or the output of a hidden layer, with that of another image; one weight per batch.

    Args:
        alpha: parameter of Beta(alpha, alpha), > 0.
        layers: module names, one of which is drawn for each batch; ``""`` is the image itself (plain Mixup).

    Returns:
        The mixer.

    Raises:
        ValueError: alpha is not positive, or (at the first step) the network has no such module.

    Source: Zhang et al., ICLR 2018; Verma et al., ICML 2019 (Manifold Mixup).
    Differs from the paper: the loss is cross-entropy with soft labels; Manifold Mixup's code uses a binary one.
    """
    if not alpha > 0:
        raise ValueError(f"baseline.alpha must be positive, got {alpha}")

    def mix(batch: Batch) -> Mixed:
        images_BCHW, device = batch.images_BCHW, batch.images_BCHW.device
        lam = symmetric_beta(alpha, 1, batch.generator).item()  # on the CPU, so no synchronisation
        partner_B = torch.randperm(len(images_BCHW), generator=batch.generator).to(device, non_blocking=True)
        layer = layers[int(torch.randint(len(layers), (), generator=batch.generator))]
        own_BK = F.one_hot(batch.labels_B, batch.num_classes).float()
        target_BK = lam * own_BK + (1.0 - lam) * own_BK[partner_B]

        def blend(x: Tensor) -> Tensor:
            return lam * x + (1.0 - lam) * x[partner_B]

        if not layer:
            return Mixed(blend(images_BCHW), target_BK)
        return Mixed(images_BCHW, target_BK, _Blended(_submodule(batch.model, layer), blend))

    return mix


class _Blended:
    """Blends a module's output within a ``with`` block."""

    def __init__(self, module: nn.Module, blend: Callable[[Tensor], Tensor]) -> None:
        self.module, self.blend = module, blend

    def __enter__(self) -> None:
        self.handle = self.module.register_forward_hook(lambda module, inputs, output: self.blend(output))

    def __exit__(self, *exc: object) -> None:
        self.handle.remove()


def _submodule(model: nn.Module, name: str) -> nn.Module:
    inner = without_early_head(model)
    try:
        return inner.get_submodule(name)
    except AttributeError:
        tops = ", ".join(child for child, _ in inner.named_children())
        raise ValueError(
            f"baseline.layers: no module named {name!r} in {type(inner).__name__}; its top level has: {tops}"
        ) from None


def gridmask(
    smallest: int, largest: int, keep: float, max_prob: float, ramp: float, max_angle: float = 360.0
) -> Mixer:
    """Remove the squares of a rotated grid, drawn separately for each image.

    Args:
        smallest: smallest period of the grid, in pixels.
        largest: upper limit of the period (excluded), in pixels.
        keep: width of the kept bars relative to the period, in (0, 1).
        max_prob: probability per image at the end of the ramp.
        ramp: fraction of training over which the probability rises from 0.
        max_angle: upper limit of the rotation (excluded), in degrees.

    Returns:
        The mixer; removed pixels are 0, the dataset mean.

    Raises:
        ValueError: a range is empty or out of bounds.

    Source: Chen et al., 2020; dvlab-research/GridMask (mode 1).
    """
    if not 0 < smallest < largest or not 0.0 < keep < 1.0 or not 0.0 <= max_prob <= 1.0:
        raise ValueError(
            f"baseline: GridMask needs 0 < grid[0] < grid[1], keep in (0, 1) and prob in [0, 1], got "
            f"grid {(smallest, largest)}, keep {keep} and prob {max_prob}"
        )

    def mask(batch: Batch) -> Mixed:
        count, _, height, width = batch.images_BCHW.shape
        draws_5B = torch.rand(5, count, generator=batch.generator)
        prob = max_prob * min(1.0, batch.progress / ramp) if ramp > 0 else max_prob
        period_B = smallest + (draws_5B[0] * (largest - smallest)).floor()
        angle_B = torch.deg2rad((draws_5B[1] * max_angle).floor())
        kept_BHW = grid_bars(period_B, keep, angle_B, draws_5B[2:4] * period_B, height, width)
        kept_BHW = kept_BHW | (draws_5B[4] >= prob)[:, None, None]
        kept_B1HW = kept_BHW[:, None].to(batch.images_BCHW.device, non_blocking=True)
        return Mixed(batch.images_BCHW * kept_B1HW, batch.labels_B)

    return mask


def grid_bars(
    period_B: Tensor, keep: float, angle_B: Tensor, offset_2B: Tensor, height: int, width: int
) -> Tensor:
    """Return a mask of the pixels on the bars of a rotated grid.

    Args:
        period_B: period of each grid, in pixels.
        keep: bar width relative to the period; the width is rounded to whole pixels.
        angle_B: rotation of each grid, in radians.
        offset_2B: shift along both bar directions, in pixels.
        height: height of the image, in pixels.
        width: width of the image, in pixels.

    Returns:
        bool mask_BHW.

    Source: dvlab-research/GridMask imagenet_grid/utils/grid.py (definition only).
    """
    rows_H = torch.arange(height) - (height - 1) / 2
    columns_W = torch.arange(width) - (width - 1) / 2
    sin_B11, cos_B11 = angle_B.sin()[:, None, None], angle_B.cos()[:, None, None]
    u_BHW = rows_H[:, None] * cos_B11 + columns_W * sin_B11
    v_BHW = columns_W * cos_B11 - rows_H[:, None] * sin_B11
    bar_B11 = (period_B * keep).round()[:, None, None]
    period_B11 = period_B[:, None, None]
    on_u = (u_BHW - offset_2B[0][:, None, None]).remainder(period_B11) < bar_B11
    on_v = (v_BHW - offset_2B[1][:, None, None]).remainder(period_B11) < bar_B11
    return on_u | on_v


def attentive_cutmix(grid: int, cells: int, attention: nn.Module | None = None) -> Mixer:
    """Paste the grid cells to which the partner's features respond most.

    Args:
        grid: number of cells along each side, G.
        cells: number of the G x G cells to paste; the partner's label gets the weight cells / G^2.
        attention: network that scores the partners; None uses the one in training, in evaluation mode.

    Returns:
        The mixer.

    Raises:
        ValueError: ``cells`` is out of range, or the network has no ``forward_features``.

    Source: Walawalkar et al., ICASSP 2020.
    Differs from the paper: KeepAugment does not name the attention network; the original uses a pretrained one.
    """
    if not 0 < cells < grid * grid:
        raise ValueError(f"baseline.cells must be between 1 and {grid * grid - 1}, got {cells}")

    def mix(batch: Batch) -> Mixed:
        images_BCHW, device = batch.images_BCHW, batch.images_BCHW.device
        partner_B = torch.randperm(len(images_BCHW), generator=batch.generator).to(device, non_blocking=True)
        energy_BGG = _attention(attention or batch.model, images_BCHW, grid)[partner_B]
        best_BN = energy_BGG.flatten(1).topk(cells, dim=1).indices
        cells_BGG = torch.zeros_like(energy_BGG, dtype=torch.bool).flatten(1).scatter(1, best_BN, True)
        cells_B1GG = cells_BGG.view(-1, 1, grid, grid).float()
        mask_B1HW = F.interpolate(cells_B1GG, size=images_BCHW.shape[-2:], mode="nearest") > 0.5
        share_B1 = mask_B1HW.float().mean((1, 2, 3))[:, None]
        own_BK = F.one_hot(batch.labels_B, batch.num_classes).float()
        target_BK = own_BK * (1.0 - share_B1) + own_BK[partner_B] * share_B1
        return Mixed(torch.where(mask_B1HW, images_BCHW[partner_B], images_BCHW), target_BK)

    return mix


def _attention(network: nn.Module, images_BCHW: Tensor, grid: int) -> Tensor:
    """Sum the last feature map over its channels, on a G x G grid."""
    with torch.no_grad(), borrowed(network) as inner:
        return F.adaptive_avg_pool2d(_forward_features(inner)(images_BCHW).float().sum(1), grid)


def _forward_features(network: nn.Module) -> Callable[[Tensor], Tensor]:
    inner = without_early_head(network)
    features: Callable[[Tensor], Tensor] | None = getattr(inner, "forward_features", None)
    if features is None:
        raise ValueError(f"baseline: {type(inner).__name__} has no forward_features, which attentive_cutmix needs")
    return features


def build_mixer(
    config: Baseline, attention: nn.Module | None = None, model: nn.Module | None = None
) -> Mixer | None:
    """Build the baseline of a config; return None for ``none``.

    Args:
        config: the baseline's options.
        attention: network of Attentive CutMix, if it is not the one in training.
        model: the network in training; if given, its compatibility with the baseline is checked.

    Raises:
        ValueError: an unknown name, a value out of range, or a network that lacks what the baseline needs.

    Source: as each baseline.
    """
    if model is not None and config.name == "manifold_mixup":
        for layer in filter(None, config.layers):
            _submodule(model, layer)
    if model is not None and config.name == "attentive_cutmix":
        _forward_features(attention or model)
    return choose(MIXERS, config.name, "baseline.name")(config, attention)


MIXERS: dict[str, Callable[[Baseline, nn.Module | None], Mixer | None]] = {
    "none": lambda c, _: None,
    "mixup": lambda c, _: mixup(c.alpha),
    "manifold_mixup": lambda c, _: mixup(c.alpha, c.layers),
    "gridmask": lambda c, _: gridmask(*c.grid, c.keep, c.prob, c.ramp),
    "attentive_cutmix": lambda c, attention: attentive_cutmix(c.attention_grid, c.cells, attention),
}
