"""One training step: views -> augment -> logits -> loss."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import UserError, as_user_error, check_choices
from engine.job import StepResult
from imagesets.normalize import Normalize
from keepcore import KeepAugment, KeepCutout, anywhere, build_keep
from keepcore.boxes import box_area
from keepcore.draws import BatchShard
from keepcore.kept import Kept
from keepcore.policy import RandAugment
from pretrain.baselines.lighting import lighting_shift
from pretrain.baselines.mixing import Batch, Mixer, build_mixer
from pretrain.config import Config
from pretrain.data import augmented_of
from pretrain.guide import KeptMaps


class Augmented(NamedTuple):
    """Input of the forward pass and its target.

    Attributes:
        images_BCHW: normalised floats.
        target: labels_B or soft target_BK.
        logs: scalars to log.
        during: context manager for the forward pass.
    """

    images_BCHW: Tensor
    target: Tensor
    logs: dict[str, Tensor]
    during: AbstractContextManager[Any] = nullcontext()


@dataclass(frozen=True)
class TrainStep:
    """Computes the loss of a batch of views and labels.

    Attributes:
        model: called in training mode; with an early head it returns two logits.
        guide: network whose saliency is used; None is the model.
        kept_maps: saliency maps of earlier epochs; None computes every map anew.
        normalize: uint8 -> normalised floats.
        operation: cuts, mixes or pastes; None turns it off.
        policy: RandAugment of the whole batch; None if there is no policy or it runs in the data workers.
        policy_cutout: plain Cutout that ends the policy, or None.
        mixer: baseline used instead of the operation, or None.
        num_classes: number of classes, K.
        label_smoothing: label smoothing, in [0, 1].
        early_weight: weight of the early head's loss.
        lighting: strength of PCA colour noise.
        progress: returns the fraction of training done, in [0, 1].
        generator: CPU generator of the augmentation's draws, in the same state in every process.
        mixing: CPU generator of the baseline's draws, different in every process.
        share: this process's part of the batch.

    Source: Gong et al., CVPR 2021, Algorithm 1 and Sec. 3.1.
    """

    model: nn.Module
    guide: nn.Module | None
    kept_maps: KeptMaps | None
    normalize: Normalize
    operation: KeepAugment | None
    policy: RandAugment | None
    policy_cutout: KeepAugment | None
    mixer: Mixer | None
    num_classes: int
    label_smoothing: float
    early_weight: float
    lighting: float
    progress: Callable[[], float]
    generator: torch.Generator
    mixing: torch.Generator
    share: BatchShard = field(default_factory=BatchShard)

    def __call__(self, batch: Any) -> StepResult:
        """Return the loss, logs and number of images."""
        views, labels_B, *more = batch
        extras: dict[str, Any] = more[0] if more else {}
        shift_B311 = self._lighting(len(labels_B), labels_B.device)
        clean_BCHW = self.normalize(views[0]) + shift_B311
        changed_BCHW = augmented_of(views)
        if self.policy is not None:
            changed_BCHW = self.policy(views[0], generator=self.generator, share=self.share)
        augmented_BCHW = self._policy_view(changed_BCHW, shift_B311)
        augmented = self._augment(clean_BCHW, labels_B, augmented_BCHW, extras)
        with augmented.during:
            outputs = self.model(augmented.images_BCHW)
        logits_BK, early_BK = outputs if isinstance(outputs, tuple) else (outputs, None)
        loss = F.cross_entropy(logits_BK, augmented.target, label_smoothing=self.label_smoothing)
        if early_BK is not None:
            early = F.cross_entropy(early_BK, augmented.target, label_smoothing=self.label_smoothing)
            loss = loss + self.early_weight * early
            augmented.logs["early_loss"] = early.detach()
        if "replaced" in extras:
            augmented.logs["corrupt_share"] = extras["replaced"].float().mean()
        return StepResult(loss, augmented.logs, len(labels_B))

    def _lighting(self, count: int, device: torch.device) -> Tensor | float:
        """Draw the colour noise of this process's images."""
        if self.lighting == 0:
            return 0.0
        std = self.normalize.std_C11.flatten().tolist()
        total = count * self.share.processes
        shift_B311 = lighting_shift(total, self.lighting, std, self.generator)
        return shift_B311[self.share.rank * count :][:count].to(device, non_blocking=True)

    def _policy_view(self, augmented_BCHW: Tensor | None, shift_B311: Tensor | float) -> Tensor | None:
        """Normalise the policy's output and apply its final Cutout."""
        if augmented_BCHW is None:
            return None
        images_BCHW = self.normalize(augmented_BCHW) + shift_B311
        if self.policy_cutout is None:
            return images_BCHW
        return self._run(self.policy_cutout, images_BCHW, None, None).images_BCHW

    def _augment(
        self, clean_BCHW: Tensor, labels_B: Tensor, augmented_BCHW: Tensor | None, extras: dict[str, Any]
    ) -> Augmented:
        """Apply the operation or the baseline."""
        base_BCHW = clean_BCHW if augmented_BCHW is None else augmented_BCHW
        if self.mixer is not None:
            seen = Batch(self.model, base_BCHW, labels_B, self.num_classes, self.progress(), self.mixing)
            mixed = self.mixer(seen)
            return Augmented(mixed.images_BCHW, mixed.target, {}, mixed.during)
        if self.operation is None:
            return Augmented(base_BCHW, labels_B, {})
        map_BHW = None
        if self.kept_maps is not None:
            guide = self.guide or self.model
            map_BHW = self.kept_maps.maps(self.operation, guide, clean_BCHW, labels_B, extras, self.share)
        kept = self._run(self.operation, clean_BCHW, labels_B, augmented_BCHW, map_BHW)
        height, width = clean_BCHW.shape[-2:]
        logs = {
            "box_area_share": box_area(kept.boxes_B4).float().mean() / (height * width),
            "box_saliency_share": kept.share_B.nanmean(),
            "flat_map_share": kept.flat_B.float().mean(),
        }
        return Augmented(kept.images_BCHW, kept.target(labels_B, self.num_classes), logs)

    def _run(
        self,
        operation: KeepAugment,
        clean_BCHW: Tensor,
        labels_B: Tensor | None,
        augmented_BCHW: Tensor | None,
        map_BHW: Tensor | None = None,
    ) -> Kept:
        """Draw for the whole batch and apply this process's part."""
        return operation(
            self.guide or self.model,
            clean_BCHW,
            labels_B,
            augmented_BCHW,
            map_BHW=map_BHW,
            generator=self.generator,
            share=self.share,
        )


def build_step(
    config: Config,
    model: nn.Module,
    normalize: Normalize,
    num_classes: int,
    generators: tuple[torch.Generator, torch.Generator],
    progress: Callable[[], float],
    share: BatchShard,
    attention: nn.Module | None = None,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    guide: nn.Module | None = None,
    kept_maps: KeptMaps | None = None,
) -> TrainStep:
    """Build the step of a config.

    Args:
        config: config of the run.
        model: the module to call.
        normalize: uint8 -> normalised floats.
        num_classes: number of classes, K.
        generators: generators of the augmentation's and the baseline's draws.
        progress: returns the fraction of training done.
        share: this process's part of the batch.
        attention: network of Attentive CutMix, or None.
        autocast: returns a context manager for the saliency pass.
        guide: network whose saliency is used; None is the model.
        kept_maps: saliency maps of earlier epochs, or None.

    Raises:
        UserError: an option is out of range, paste has no policy, or two methods are selected.

    Source: as :class:`TrainStep`.
    """
    _check(config)
    augment = config.augment
    if config.compile and augment.head == "full":
        augment = replace(augment, head="compiled")
    side = config.data.image_size
    with as_user_error("policy"):
        policy = None
        if config.policy.on == "device" and config.policy.name != "none":
            policy = RandAugment(config.policy.num_ops, config.policy.magnitude)
        cutout = KeepCutout(config.policy.cutout, selector=anywhere) if config.policy.cutout else None
    with as_user_error("augment"):
        operation = None
        if augment.op != "none":
            operation = replace(build_keep(augment).checked(side, side), autocast=autocast)
    with as_user_error():
        mixer = build_mixer(config.baseline, attention, model)
    return TrainStep(
        model=model,
        guide=guide,
        kept_maps=kept_maps,
        normalize=normalize,
        operation=operation,
        policy=policy,
        policy_cutout=cutout,
        mixer=mixer,
        num_classes=num_classes,
        label_smoothing=config.label_smoothing,
        early_weight=config.model.early_weight,
        lighting=config.data.lighting,
        progress=progress,
        generator=generators[0],
        mixing=generators[1],
        share=share,
    )


def _check(config: Config) -> None:
    """Refuse methods that cannot be combined."""
    check_choices(config)
    augment = config.augment
    if augment.op == "paste" and config.policy.name == "none":
        raise UserError("augment.op paste needs augmented images: add --policy.name, e.g. randaugment")
    if augment.op != "none" and config.baseline.name != "none":
        raise UserError(
            f"augment.op {augment.op} and baseline.name {config.baseline.name} cannot be combined: set one to none"
        )
    if config.compile and config.baseline.name == "manifold_mixup":
        raise UserError(
            "baseline.name manifold_mixup mixes inside the network by a hook that --compile ignores: use only one"
        )
