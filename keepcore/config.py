"""One augmentation as plain values. Imports nothing, so that command lines answer ``--help`` at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KeepConfig:
    """One augmentation and its saliency, as plain values.

    Attributes:
        op: cutout, erasing, cutmix or paste.
        selective: choose the region by saliency; False is the plain augmentation from the same draws.
        shuffled: give each image the box chosen for another one: a control with equal areas and positions.
        quantile: tau in [0, 1].
        length: side of the region for cutout and paste: pixels (int) or a fraction (float); (height, width).
        prob: chance that the operation fires.
        score: whose gradient: label, max or loss.
        scale: resolution of the saliency pass relative to the image; 0.5 is the paper's low resolution.
        head: full, early (the model must be an EarlyHead), or compiled (full, through torch.compile).
        bn: eval, batch_nostats or train.
        border: inside or clip; "" takes the operation's default.
        reduce: sum or mean.
        fill: constant, mean or noise.
        fill_value: the constant, one number or one per channel.
        alpha: CutMix's Beta parameter.
        per: CutMix draws its size per batch or per image.
        area: Random Erasing's range of area shares.
        aspect: Random Erasing's range of height / width.
        log_aspect: draw the aspect log-uniformly.
        tries: Random Erasing's proposals per image.
    """

    op: str = "cutout"
    selective: bool = True
    shuffled: bool = False
    quantile: float = 0.6
    length: int | float | tuple[int, int] = 16
    prob: float = 1.0
    score: str = "label"
    scale: float = 1.0
    head: str = "full"
    bn: str = "eval"
    border: str = ""
    reduce: str = "sum"
    fill: str = "constant"
    fill_value: float | tuple[float, float, float] = 0.0
    alpha: float = 1.0
    per: str = "batch"
    area: tuple[float, float] = (0.02, 1 / 3)
    aspect: tuple[float, float] = (0.3, 1 / 0.3)
    log_aspect: bool = True
    tries: int = 10
