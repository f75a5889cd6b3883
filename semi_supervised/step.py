"""One training step: labelled loss + consistency between the weak and the kept strong view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from keepcore import KeepAugment, KeepCutout, anywhere, build_keep
from keepcore.run.errors import UserError
from keepcore.run.images import Normalize
from keepcore.run.loop import StepResult
from semi_supervised.config import Config, Uda
from semi_supervised.losses import TSA, consistency_loss, supervised_loss, tsa_threshold


@dataclass(frozen=True)
class TrainStep:
    """A pair of batches in, the loss out.

    Attributes:
        model: images -> logits_BK.
        normalize: uint8 -> normalised floats.
        cutout: ends the strong augmentation, or None.
        operation: pastes the important region back, or None.
        uda: weights and thresholds.
        progress: share of the training done, in [0, 1].
        num_classes: K.
        generator: for the draws, on the CPU.

    Source: Gong et al., CVPR 2021, Sec. 4.3; Xie et al., NeurIPS 2020.
    """

    model: nn.Module
    normalize: Normalize
    cutout: KeepAugment | None
    operation: KeepAugment | None
    uda: Uda
    progress: Callable[[], float]
    num_classes: int
    generator: torch.Generator

    def __call__(self, batch: Any) -> StepResult:
        """Return loss, logs and image count."""
        (labelled_views, labels_B), (views, truth_U) = batch
        labelled_BCHW = self.normalize(labelled_views[0])
        threshold = (
            1.0 if self.uda.tsa == "none" else tsa_threshold(self.uda.tsa, self.progress(), self.num_classes)
        )
        if self.uda.weight == 0:
            loss = supervised_loss(self.model(labelled_BCHW), labels_B, threshold)
            return StepResult(loss, {"supervised_loss": loss.detach()}, len(labels_B))
        weak_UCHW = self.normalize(views[0])
        strong_UCHW, logs = self._strong(self.normalize(views[1]), self.normalize(views[2]))
        images = torch.cat([labelled_BCHW, weak_UCHW, strong_UCHW])
        logits_BK, weak_UK, strong_UK = self.model(images).split([len(labels_B), len(truth_U), len(truth_U)])
        supervised = supervised_loss(logits_BK, labels_B, threshold)
        consistency, share = consistency_loss(weak_UK, strong_UK, self.uda.temperature, self.uda.threshold)
        confident_U = weak_UK.detach().float().softmax(1).amax(1) > self.uda.threshold
        right_U = (weak_UK.argmax(1) == truth_U) & confident_U
        logs |= {
            "supervised_loss": supervised.detach(),
            "consistency_loss": consistency.detach(),
            "mask_rate": share,
            "pseudo_label_accuracy": right_U.sum() / confident_U.sum(),  # NaN, so not counted, where none is
            "tsa_threshold": torch.tensor(threshold, device=share.device),
        }
        return StepResult(supervised + self.uda.weight * consistency, logs, len(images))

    def _strong(self, clean_UCHW: Tensor, augmented_UCHW: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Cutout, then paste the region of the clean view that matters."""
        if self.cutout is not None:
            augmented_UCHW = self.cutout(self.model, augmented_UCHW, generator=self.generator).images_BCHW
        if self.operation is None:
            return augmented_UCHW, {}
        kept = self.operation(self.model, clean_UCHW, None, augmented_UCHW, generator=self.generator)
        return kept.images_BCHW, {"kept_saliency_share": kept.share_B.nanmean()}


def build_step(
    config: Config,
    model: nn.Module,
    num_classes: int,
    normalize: Normalize,
    progress: Callable[[], float],
    generator: torch.Generator,
) -> TrainStep:
    """Build the step of a config.

    Raises:
        UserError: a threshold, temperature, schedule or operation that makes no sense here.

    Source: as :class:`TrainStep`.
    """
    uda, augment = config.uda, config.augment
    if not 0.0 <= uda.threshold <= 1.0:
        raise UserError(f"uda.threshold must be in [0, 1], got {uda.threshold}")
    if not uda.temperature > 0:
        raise UserError(f"uda.temperature must be positive, got {uda.temperature}")
    if uda.tsa != "none" and uda.tsa not in TSA:
        raise UserError(f"uda.tsa must be none, {', '.join(TSA)}, got {uda.tsa!r}")
    if augment.op != "none" and (augment.op, augment.head, augment.score) != ("paste", "full", "max"):
        raise UserError("augment: unlabelled images take op paste, score max and head full")
    return TrainStep(
        model=model,
        normalize=normalize,
        cutout=KeepCutout(uda.cutout, selector=anywhere) if uda.cutout else None,
        operation=None if augment.op == "none" else build_keep(augment),
        uda=uda,
        progress=progress,
        num_classes=num_classes,
        generator=generator,
    )
