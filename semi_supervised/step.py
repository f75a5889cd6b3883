"""One training step: labelled loss plus consistency between the weak and the kept strong view."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import UserError, check_choices, check_ranges
from engine.job import StepResult
from imagesets.normalize import Normalize
from semi_supervised.config import Config, Loss
from semi_supervised.losses import (
    Target,
    consistency_loss,
    entropy,
    pseudo_target,
    supervised_loss,
    tsa_threshold,
)
from semi_supervised.strong import StrongViews, Views


@dataclass(frozen=True)
class TrainStep:
    """Computes the loss of a pair of batches. Shape legend: L labelled images, U unlabelled images.

    Attributes:
        model: images -> logits_BK, or a pair that includes the early head's.
        normalize: uint8 -> normalised floats.
        strong: makes the strong views.
        loss: weights and thresholds.
        confident_only: paste only into images that the unlabelled loss counts.
        progress: returns the fraction of training done, in [0, 1].
        num_classes: number of classes, K.

    Source: Gong et al., CVPR 2021, Sec. 4.3; Xie et al., NeurIPS 2020.
    """

    model: nn.Module
    normalize: Normalize
    strong: StrongViews
    loss: Loss
    confident_only: bool
    progress: Callable[[], float]
    num_classes: int

    def __call__(self, batch: Any) -> StepResult:
        """Return the loss, logs and number of images."""
        (labelled_views, labels_L), unlabelled = batch
        labelled_LCHW = self.normalize(labelled_views[0])
        threshold = tsa_threshold(self.loss.tsa, self.progress(), self.num_classes)
        logs = {"tsa_threshold": torch.tensor(threshold, device=labels_L.device)}
        if unlabelled is None:
            heads = self._heads(labelled_LCHW)
            losses = [supervised_loss(logits_LK, labels_L, threshold) for logits_LK in heads]
            logs["supervised_loss"] = losses[0].detach()
            return StepResult(self._total(losses, logs), logs, len(labels_L))
        crops, truth_U = unlabelled
        count = [len(labels_L), len(truth_U)]
        views, parts = self._forward(labelled_LCHW, crops, count)
        labelled, weak, strong = parts
        target = self._target(weak[0])
        supervised = [supervised_loss(logits_LK, labels_L, threshold) for logits_LK in labelled]
        consistency = [consistency_loss(target, strong_UK) for strong_UK in strong]
        losses = [a + self.loss.weight * b for a, b in zip(supervised, consistency, strict=True)]
        total = self._total(losses, logs)
        if self.loss.entropy:
            uncertainty = entropy(weak[0])
            total, logs["entropy"] = total + self.loss.entropy * uncertainty, uncertainty.detach()
        logs |= _observed(supervised[0], consistency[0], target, truth_U, views)
        return StepResult(total, logs, count[0] + 2 * count[1])

    def _forward(
        self, labelled_LCHW: Tensor, crops: list[Tensor], count: list[int]
    ) -> tuple[Views, list[list[Tensor]]]:
        """Run the network; return the views and each head's logits of the labelled, weak and strong parts."""
        first = torch.cat([labelled_LCHW, self.normalize(crops[0])])
        if not self.confident_only:
            views = self.strong(crops[-1])
            heads = self._heads(torch.cat([first, views.strong_UCHW]))
            split = [logits.split([*count, count[1]]) for logits in heads]
            return views, [list(part) for part in zip(*split, strict=True)]
        split = [logits.split(count) for logits in self._heads(first)]
        labelled, weak = (list(part) for part in zip(*split, strict=True))
        views = self.strong(crops[-1], self._target(weak[0]).counted_B.bool())
        return views, [labelled, weak, self._heads(views.strong_UCHW)]

    def _heads(self, images_BCHW: Tensor) -> list[Tensor]:
        outputs = self.model(images_BCHW)
        return list(outputs) if isinstance(outputs, tuple) else [outputs]

    def _target(self, weak_UK: Tensor) -> Target:
        return pseudo_target(weak_UK, self.loss.target, self.loss.temperature, self.loss.threshold)

    def _total(self, losses: list[Tensor], logs: dict[str, Tensor]) -> Tensor:
        """Add the weighted loss of the early head to that of the network."""
        if len(losses) == 1:
            return losses[0]
        logs["early_loss"] = losses[1].detach()
        return losses[0] + self.loss.early * losses[1]


def _observed(
    supervised: Tensor, consistency: Tensor, target: Target, truth_U: Tensor, views: Views
) -> dict[str, Tensor]:
    """Collect the logs of the unlabelled images; truth is -1 where unknown."""
    certain_U = target.counted_B.bool() & (truth_U >= 0)
    right_U = certain_U & (target.class_B == truth_U)
    logs = {
        "supervised_loss": supervised.detach(),
        "consistency_loss": consistency.detach(),
        "mask_rate": target.counted_B.mean(),
        "pseudo_label_accuracy": right_U.sum() / certain_U.sum(),  # NaN, hence ignored, if none is certain
    }
    if views.kept is not None:
        logs["kept_saliency_share"] = views.kept.share_B.nanmean()
    return logs


def build_step(
    config: Config,
    model: nn.Module,
    strong: StrongViews,
    normalize: Normalize,
    progress: Callable[[], float],
    num_classes: int,
) -> TrainStep:
    """Build the step of a config.

    Raises:
        UserError: a threshold, temperature or weight is out of range.

    Source: as :class:`TrainStep`.
    """
    loss = config.loss
    check_choices(config)
    check_ranges(loss, "loss.", threshold=(0, 1), weight=(0, None), entropy=(0, None), early=(0, None))
    if not loss.temperature > 0:
        raise UserError(f"loss.temperature must be positive, got {loss.temperature}")
    only = config.guide.confident_only and strong.operation is not None
    return TrainStep(model, normalize, strong, loss, only, progress, num_classes)
