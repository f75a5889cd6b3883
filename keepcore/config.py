"""One augmentation as plain values. Imports nothing heavy, so that command lines answer ``--help`` at once."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class KeepConfig:
    """One augmentation and its saliency, as plain values.

    Attributes:
        op: operation; none leaves the images as they are.
        selective: choose the region by saliency; false gives the plain augmentation from the same draws.
        control: a control instead of Keep; give each image the box chosen for another one (shuffled), move the
            chosen box to a random place (same_size), or select by the mean map of the batch (mean_map), by a
            Gaussian at the centre, or by noise.
        shuffled: the same as control shuffled, for configs written before there were others.
        match: select among all boxes (any), or among those of the size that the plain augmentation has after
            clipping (area), so that Keep changes where the region is and never how large.
        saliency: gradient with respect to the image (the paper's), or gradient times activation at a feature map.
        stage: name of the module at which feature_gradient is taken; "" chooses by the image size.
        quantile: threshold tau, in [0, 1]; cutting operations choose among the tau share of boxes with the lowest
            saliency, paste among the 1 - tau share with the highest.
        length: side of the region of cutout and paste; pixels (16), a fraction of the side (0.5), or
            [height, width] in pixels.
        prob: probability that the operation is applied.
        score: output whose gradient is the saliency; the label's logit, the largest logit, the loss, or the loss
            of several labels.
        scale: resolution of the saliency pass relative to the image; 0.5 is the paper's low resolution.
        head: part of the network that the saliency pass runs through; early needs a model with an early head,
            compiled is the full network through torch.compile.
        bn: BatchNorm during the saliency pass; running statistics, or the batch's without (batch_nostats) or with
            (train) updating the running ones.
        border: whether boxes stay inside the image or are clipped at its border; "" takes the operation's default.
        reduce: whether a box is scored by the sum or by the mean of its saliency.
        fill: content of cut regions; a constant, the image's mean colour, or normal noise.
        fill_value: constant fill, one number or one per channel, in normalised units.
        alpha: parameter of CutMix's Beta distribution.
        per: whether CutMix draws its size once per batch or for each image.
        area: range of Random Erasing's area as a fraction of the image, e.g. [0.02, 0.33].
        aspect: range of Random Erasing's height divided by width, e.g. [0.3, 3.3].
        log_aspect: draw Random Erasing's aspect log-uniformly instead of uniformly.
        tries: number of sizes that Random Erasing proposes per image; an image that none of them fits stays whole.
    """

    op: Literal["none", "cutout", "erasing", "cutmix", "paste"] = "cutout"
    selective: bool = True
    control: Literal["none", "shuffled", "same_size", "mean_map", "centre", "noise"] = "none"
    shuffled: bool = False
    match: Literal["any", "area"] = "any"
    saliency: Literal["input_gradient", "feature_gradient"] = "input_gradient"
    stage: str = ""
    quantile: float = 0.6
    length: int | float | tuple[int, int] = 16
    prob: float = 1.0
    score: Literal["label", "max", "loss", "multilabel_loss"] = "label"
    scale: float = 1.0
    head: Literal["full", "early", "compiled"] = "full"
    bn: Literal["eval", "batch_nostats", "train"] = "eval"
    border: Literal["", "inside", "clip"] = ""
    reduce: Literal["sum", "mean"] = "sum"
    fill: Literal["constant", "mean", "noise"] = "constant"
    fill_value: float | tuple[float, float, float] = 0.0
    alpha: float = 1.0
    per: Literal["batch", "image"] = "batch"
    area: tuple[float, float] = (0.02, 1 / 3)
    aspect: tuple[float, float] = (0.3, 1 / 0.3)
    log_aspect: bool = True
    tries: int = 10
