"""One training step: selective erasing, features and logits, losses."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import UserError, as_user_error, check_choices
from engine.job import StepResult
from imagesets.normalize import Normalize
from keepcore import KeepAugment, build_keep
from keepcore.boxes import box_area
from keepcore.draws import BatchShard
from reid.config import Config, Loss
from reid.losses import batch_hard_triplet, centre_loss, gather_batch
from reid.model import ReidModel


@dataclass(frozen=True)
class TrainStep:
    """Compute the loss of a batch of uint8 images and labels.

    Attributes:
        model: images -> (features_BD, logits_BK).
        centres_KD: centres of the centre loss, or None.
        normalize: uint8 -> normalised floats.
        operation: the erasing, or None.
        loss: weights and margins of the losses.
        generator: CPU generator for the erasing, in the same state in every process.
        share: this process's share of the batch.

    Source: Gong et al., CVPR 2021, Sec. 4.4; Luo et al., CVPRW 2019.
    """

    model: nn.Module
    centres_KD: Tensor | None
    normalize: Normalize
    operation: KeepAugment | None
    loss: Loss
    generator: torch.Generator
    share: BatchShard

    def __call__(self, batch: Any) -> StepResult:
        """Return the loss, logs and number of images."""
        images, labels_B = batch
        images_BCHW, logs = self._erase(self.normalize(images), labels_B)
        features_BD, logits_BK = self.model(images_BCHW)
        classify = F.cross_entropy(logits_BK, labels_B, label_smoothing=self.loss.label_smoothing)
        triplet = batch_hard_triplet(*gather_batch(features_BD, labels_B), self.loss.margin)
        total = classify + triplet
        logs |= {"id_loss": classify.detach(), "triplet_loss": triplet.detach()}
        if self.centres_KD is not None:
            centre = centre_loss(features_BD, labels_B, self.centres_KD)
            total = total + self.loss.centre * centre
            logs["centre_loss"] = centre.detach()
        return StepResult(total, logs, len(labels_B))

    def _erase(self, images_BCHW: Tensor, labels_B: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if self.operation is None:
            return images_BCHW, {}
        kept = self.operation(self.model, images_BCHW, labels_B, generator=self.generator, share=self.share)
        height, width = images_BCHW.shape[-2:]
        logs = {
            "box_area_share": box_area(kept.boxes_B4).float().mean() / (height * width),
            "box_saliency_share": kept.share_B.nanmean(),
        }
        return kept.images_BCHW, logs


def build_step(
    config: Config,
    model: nn.Module,
    bare: ReidModel,
    normalize: Normalize,
    generator: torch.Generator,
    share: BatchShard,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> TrainStep:
    """Build the step of a config.

    Raises:
        UserError: an operation other than erasing or cutout, or a head other than "full".

    Source: as :class:`TrainStep`.
    """
    check_choices(config)
    operation = None
    if config.augment.op != "none":
        if config.augment.op not in ("erasing", "cutout"):
            raise UserError(f"augment.op must be none, erasing or cutout in re-ID, got {config.augment.op!r}")
        if config.augment.head != "full":
            raise UserError(f"augment.head must be full in re-ID, got {config.augment.head!r}")
        with as_user_error("augment"):
            operation = build_keep(config.augment).checked(config.data.height, config.data.width)
        operation = replace(operation, head=lambda inner: cast(ReidModel, inner).logits, autocast=autocast)
    return TrainStep(model, bare.centres, normalize, operation, config.loss, generator, share)
