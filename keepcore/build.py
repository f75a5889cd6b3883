"""Builds operations from plain values: the only place where names become functions, with one dict per choice."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from torch import Tensor

from keepcore.compiled import compiled_logits
from keepcore.compose import FillFn, constant, image_mean, noise
from keepcore.config import KeepConfig
from keepcore.controls import CONTROLS, centre_map, mean_map, noise_map
from keepcore.early_head import HeadFn, early_logits, full_logits
from keepcore.features import feature_gradient
from keepcore.keep import KeepAugment
from keepcore.operations import KeepCutMix, KeepCutout, KeepOptions, KeepPaste, KeepRandomErasing
from keepcore.regions import Selector, above, anywhere, below
from keepcore.saliency import (
    SaliencyFn,
    ScoreFn,
    at_scale,
    input_gradient,
    label_logit,
    label_loss,
    max_logit,
    multilabel_loss,
)
from keepcore.sizes import erasing_size

SCORES: dict[str, ScoreFn] = {
    "label": label_logit,
    "max": max_logit,
    "loss": label_loss,
    "multilabel_loss": multilabel_loss,
}
SALIENCIES: dict[str, Callable[..., Tensor]] = {
    "input_gradient": input_gradient,
    "feature_gradient": feature_gradient,
}
MAPS: dict[str, Callable[..., Tensor]] = {"centre": centre_map, "noise": noise_map}
SELECTORS: dict[str, Selector] = {"below": below, "above": above, "anywhere": anywhere}
HEADS: dict[str, HeadFn] = {"full": full_logits, "early": early_logits, "compiled": compiled_logits}
FILLS: dict[str, Callable[[float | Sequence[float]], FillFn]] = {
    "constant": constant,
    "mean": lambda value: image_mean,
    "noise": lambda value: noise,
}

T = TypeVar("T")


def build_saliency(config: KeepConfig) -> SaliencyFn:
    """Build the saliency function of a config: kind and score, then scale, then what a control replaces it by.

    Raises:
        ValueError: a name is unknown, a stage is given for the input gradient, or scale is not positive, or
            above 4, where a batch would not fit into any memory.

    Source: Gong et al., CVPR 2021, Secs. 3 and 3.1.
    """
    if config.scale > 4.0:
        raise ValueError(f"scale must be at most 4, got {config.scale}")
    if config.control in MAPS:
        return MAPS[config.control]
    kind = choose(SALIENCIES, config.saliency, "saliency")
    if config.stage and kind is not feature_gradient:
        raise ValueError(f"stage {config.stage!r} belongs to saliency feature_gradient, not {config.saliency}")
    more = {"stage": config.stage} if config.stage else {}
    saliency: SaliencyFn = partial(kind, score=choose(SCORES, config.score, "score"), **more)
    saliency = saliency if config.scale == 1.0 else at_scale(saliency, config.scale)
    return mean_map(saliency) if config.control == "mean_map" else saliency


def build_keep(config: KeepConfig) -> KeepAugment:
    """Build the operation of a config.

    Args:
        config: plain values.

    Returns:
        The operation, ready to be called in a training step.

    Raises:
        ValueError: a name is unknown (the message lists the known ones) or a value is out of range.

    Example:
        >>> build_keep(KeepConfig(op="cutmix", scale=0.5)).coin
        'batch'

    Source: Gong et al., CVPR 2021, Algorithm 1.
    """
    operation = choose(OPERATIONS, config.op, "op")
    options: KeepOptions = {
        "quantile": config.quantile,
        "saliency": build_saliency(config),
        "head": choose(HEADS, config.head, "head"),
        "bn": config.bn,
        "reduce": config.reduce,
        "match": config.match,
        "control": _control(config),
    }
    if config.border:
        options["border"] = config.border
    if not config.selective:
        options["selector"] = anywhere
    return operation(config, options)


def choose(table: Mapping[str, T], name: str, what: str) -> T:
    """Look up a name; if it is unknown, the error lists the valid ones.

    Raises:
        ValueError: unknown name.
    """
    if name not in table:
        raise ValueError(f"{what} must be one of {', '.join(table)}, got {name!r}")
    return table[name]


def _control(config: KeepConfig) -> str:
    """Return the control of the boxes; those of the map are part of the saliency."""
    if config.shuffled and config.control != "none":
        raise ValueError(f"give either shuffled or control, got shuffled and control {config.control}")
    choose(dict.fromkeys(("none", "mean_map", *CONTROLS, *MAPS)), config.control, "control")
    if config.shuffled:
        return "shuffled"
    return config.control if config.control in CONTROLS else "none"


def _fill(config: KeepConfig) -> FillFn:
    return choose(FILLS, config.fill, "fill")(config.fill_value)


def _cutout(config: KeepConfig, options: KeepOptions) -> KeepAugment:
    return KeepCutout(config.length, fill=_fill(config), **options)


def _erasing(config: KeepConfig, options: KeepOptions) -> KeepAugment:
    size = erasing_size(config.area, config.aspect, log_aspect=config.log_aspect, tries=config.tries)
    return KeepRandomErasing(config.prob, size=size, fill=_fill(config), **options)


def _cutmix(config: KeepConfig, options: KeepOptions) -> KeepAugment:
    return KeepCutMix(config.alpha, prob=config.prob, per=config.per, **options)


def _paste(config: KeepConfig, options: KeepOptions) -> KeepAugment:
    return KeepPaste(config.length, prob=config.prob, **options)


OPERATIONS: dict[str, Callable[[KeepConfig, KeepOptions], KeepAugment]] = {
    "cutout": _cutout,
    "erasing": _erasing,
    "cutmix": _cutmix,
    "paste": _paste,
}
