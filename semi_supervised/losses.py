"""UDA's losses. Shape legend: B images, K classes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

TSA: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: progress,
    "log": lambda progress: 1.0 - math.exp(-5.0 * progress),
    "exp": lambda progress: math.exp(5.0 * (progress - 1.0)),
}


def tsa_threshold(schedule: str, progress: float, num_classes: int) -> float:
    """Give the probability above which a labelled image no longer counts.

    Args:
        schedule: linear, log or exp.
        progress: share of the training done, in [0, 1].
        num_classes: K.

    Returns:
        A threshold rising from 1 / K to 1.

    Raises:
        ValueError: unknown schedule.

    Source: Xie et al., NeurIPS 2020; google-research/uda image/main.py get_tsa_threshold.
    """
    if schedule not in TSA:
        raise ValueError(f"uda.tsa must be none, {', '.join(TSA)}, got {schedule!r}")
    return TSA[schedule](progress) * (1.0 - 1.0 / num_classes) + 1.0 / num_classes


def supervised_loss(logits_BK: Tensor, labels_B: Tensor, threshold: float = 1.0) -> Tensor:
    """Cross-entropy over the images whose label's probability is still below the threshold.

    Args:
        logits_BK: float.
        labels_B: int64.
        threshold: of training signal annealing, in [0, 1]; 1 counts every image.

    Returns:
        Mean over the counted images; 0 when there are none.

    Source: google-research/uda image/main.py anneal_sup_loss (on the correct label's probability).
    """
    loss_B = F.cross_entropy(logits_BK.float(), labels_B, reduction="none")
    counted_B = (torch.exp(-loss_B) <= threshold).float().detach()
    return (loss_B * counted_B).sum() / counted_B.sum().clamp_min(1.0)


def consistency_loss(
    weak_BK: Tensor, strong_BK: Tensor, temperature: float = 0.4, threshold: float = 0.8
) -> tuple[Tensor, Tensor]:
    """KL divergence from the sharpened prediction on the weak view to the one on the strong view.

    Args:
        weak_BK: logits; no gradient flows through them.
        strong_BK: logits.
        temperature: of the target.
        threshold: on the weak view's largest probability, before sharpening.

    Returns:
        Mean over ALL images of the KL divergence of those above the threshold, and their share.

    Source: Xie et al., NeurIPS 2020; google-research/uda image/main.py.
    """
    weak_BK = weak_BK.detach().float()
    target_BK = F.softmax(weak_BK / temperature, 1)
    confident_B = (F.softmax(weak_BK, 1).amax(1) > threshold).float()
    divergence_B = F.kl_div(F.log_softmax(strong_BK.float(), 1), target_BK, reduction="none").sum(1)
    return (divergence_B * confident_B).mean(), confident_B.mean()
