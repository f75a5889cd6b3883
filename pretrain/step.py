"""One training step: views -> augment -> logits -> loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keepcore import KeepAugment, KeepCutout, anywhere, build_keep
from keepcore.boxes import box_area
from keepcore.run.images import Normalize
from keepcore.run.loop import StepResult
from pretrain.config import Config
from pretrain.data import augmented_of


@dataclass(frozen=True)
class TrainStep:
    """A batch of views and labels in, the loss out.

    Attributes:
        model: called in training mode; with an early head it returns two logits.
        normalize: uint8 -> normalised floats.
        operation: what cuts, mixes or pastes; None: nothing does.
        policy_cutout: plain Cutout that ends the policy; None: it has none.
        num_classes: K.
        label_smoothing: epsilon.
        early_weight: weight of the early head's loss.
        generator: for the augmentation's draws, on the CPU.

    Source: Gong et al., CVPR 2021, Algorithm 1 and Sec. 3.1.
    """

    model: nn.Module
    normalize: Normalize
    operation: KeepAugment | None
    policy_cutout: KeepAugment | None
    num_classes: int
    label_smoothing: float
    early_weight: float
    generator: torch.Generator

    def __call__(self, batch: Any) -> StepResult:
        """Return loss, logs and image count."""
        views, labels_B = batch
        clean_BCHW = self.normalize(views[0])
        augmented_BCHW = self._policy_view(augmented_of(views))
        images_BCHW, target, logs = self._augment(clean_BCHW, labels_B, augmented_BCHW)
        outputs = self.model(images_BCHW)
        logits_BK, early_BK = outputs if isinstance(outputs, tuple) else (outputs, None)
        loss = F.cross_entropy(logits_BK, target, label_smoothing=self.label_smoothing)
        if early_BK is not None:
            early = F.cross_entropy(early_BK, target, label_smoothing=self.label_smoothing)
            loss = loss + self.early_weight * early
            logs["early_loss"] = early.detach()
        return StepResult(loss, logs, len(labels_B))

    def _policy_view(self, augmented_BCHW: Tensor | None) -> Tensor | None:
        """Normalise the policy's output and give it its final Cutout."""
        if augmented_BCHW is None:
            return None
        images_BCHW = self.normalize(augmented_BCHW)
        if self.policy_cutout is None:
            return images_BCHW
        return self.policy_cutout(self.model, images_BCHW, generator=self.generator).images_BCHW

    def _augment(
        self, clean_BCHW: Tensor, labels_B: Tensor, augmented_BCHW: Tensor | None
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return images, the target of the loss, and logs."""
        if self.operation is None:
            return clean_BCHW if augmented_BCHW is None else augmented_BCHW, labels_B, {}
        kept = self.operation(self.model, clean_BCHW, labels_B, augmented_BCHW, generator=self.generator)
        height, width = clean_BCHW.shape[-2:]
        logs = {
            "box_area_share": box_area(kept.boxes_B4).float().mean() / (height * width),
            "box_saliency_share": kept.share_B.nanmean(),
            "flat_map_share": kept.flat_B.float().mean(),
        }
        return kept.images_BCHW, kept.target(labels_B, self.num_classes), logs


def build_step(
    config: Config, model: nn.Module, normalize: Normalize, num_classes: int, generator: torch.Generator
) -> TrainStep:
    """Build the step of a config.

    Raises:
        ValueError: an unknown operation or option, or paste without a policy.

    Source: as :class:`TrainStep`.
    """
    if config.augment.op == "paste" and config.policy.name == "none":
        raise ValueError("augment.op paste needs augmented images: set --policy.name, e.g. randaugment")
    cutout = KeepCutout(config.policy.cutout, selector=anywhere) if config.policy.cutout else None
    return TrainStep(
        model=model,
        normalize=normalize,
        operation=None if config.augment.op == "none" else build_keep(config.augment),
        policy_cutout=cutout,
        num_classes=num_classes,
        label_smoothing=config.label_smoothing,
        early_weight=config.model.early_weight,
        generator=generator,
    )
