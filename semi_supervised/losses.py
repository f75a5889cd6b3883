"""Losses of the labelled and the unlabelled images. Shape legend: B images, K classes."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

TSA: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: progress,
    "log": lambda progress: 1.0 - math.exp(-5.0 * progress),
    "exp": lambda progress: math.exp(5.0 * (progress - 1.0)),
}


def tsa_threshold(schedule: str, progress: float, num_classes: int) -> float:
    """Return the probability above which a labelled image no longer counts.

    Args:
        schedule: none, linear, log or exp.
        progress: fraction of training done, in [0, 1].
        num_classes: number of classes, K.

    Returns:
        A threshold that rises from about 1 / K to about 1; always 1 for none.

    Raises:
        ValueError: unknown schedule.

    Source: Xie et al., NeurIPS 2020; google-research/uda image/main.py get_tsa_threshold.
    """
    if schedule == "none":
        return 1.0
    if schedule not in TSA:
        raise ValueError(f"loss.tsa must be one of none, {', '.join(TSA)}, got {schedule!r}")
    return TSA[schedule](progress) * (1.0 - 1.0 / num_classes) + 1.0 / num_classes


def supervised_loss(logits_BK: Tensor, labels_B: Tensor, threshold: float = 1.0) -> Tensor:
    """Return the cross-entropy over the images whose label's probability does not exceed the threshold.

    Args:
        logits_BK: logits, float.
        labels_B: int64.
        threshold: threshold of training signal annealing, in [0, 1]; 1 counts every image.

    Returns:
        Mean over the counted images; 0 if no image counts.

    Source: google-research/uda image/main.py anneal_sup_loss (on the correct label's probability).
    """
    loss_B = F.cross_entropy(logits_BK.float(), labels_B, reduction="none")
    counted_B = (torch.exp(-loss_B) <= threshold).float().detach()
    return (loss_B * counted_B).sum() / counted_B.sum().clamp_min(1.0)


class Target(NamedTuple):
    """Targets for the strong view.

    Attributes:
        target_BK: target probabilities, float32, detached.
        class_B: most probable class of the weak view, int64.
        counted_B: 1 where the weak view's prediction is confident, else 0; float32.
    """

    target_BK: Tensor
    class_B: Tensor
    counted_B: Tensor


def pseudo_target(weak_BK: Tensor, kind: str, temperature: float, threshold: float) -> Target:
    """Compute targets from the weak view.

    Args:
        weak_BK: logits of the weak view; no gradient flows through them.
        kind: soft or hard.
        temperature: temperature of soft targets.
        threshold: value that the largest probability before sharpening must exceed.

    Returns:
        The targets.

    Raises:
        ValueError: unknown kind.

    Source: google-research/uda image/main.py (soft); Sohn et al., NeurIPS 2020, FixMatch (hard).
    """
    weak_BK = weak_BK.detach().float()
    confidence_B, class_B = weak_BK.softmax(1).max(1)
    if kind == "soft":
        target_BK = (weak_BK / temperature).softmax(1)
    elif kind == "hard":
        target_BK = F.one_hot(class_B, weak_BK.shape[1]).float()
    else:
        raise ValueError(f"loss.target must be soft or hard, got {kind!r}")
    return Target(target_BK, class_B, (confidence_B > threshold).float())


def consistency_loss(target: Target, strong_BK: Tensor) -> Tensor:
    """Return the KL divergence KL(targets || strong view's prediction).

    Args:
        target: targets from the weak view.
        strong_BK: logits of the strong view.

    Returns:
        Divergence summed over the counted images, divided by ALL images; the cross-entropy for hard targets.

    Source: Xie et al., NeurIPS 2020; google-research/uda image/main.py.
    """
    divergence_B = F.kl_div(F.log_softmax(strong_BK.float(), 1), target.target_BK, reduction="none").sum(1)
    return (divergence_B * target.counted_B).mean()


def entropy(logits_BK: Tensor) -> Tensor:
    """Return the mean entropy of the predictions, in nats; it is differentiable.

    Args:
        logits_BK: logits, float.

    Source: google-research/uda image/main.py get_ent (Grandvalet and Bengio, 2005).
    """
    log_BK = F.log_softmax(logits_BK.float(), 1)
    return -(log_BK.exp() * log_BK).sum(1).mean()
