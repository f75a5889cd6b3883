"""The strong view: RandAugment, Cutout, and finally the important region pasted back."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from engine.errors import UserError, as_user_error, check_ranges
from imagesets.normalize import Normalize
from keepcore import KeepAugment, KeepCutout, Kept, anywhere, build_keep
from keepcore.draws import BatchShard, among, shard
from keepcore.policy import RandAugment
from semi_supervised.config import Config


class Views(NamedTuple):
    """Views of U images, as normalised floats.

    Attributes:
        clean_UCHW: unaugmented crops.
        plain_UCHW: crops after RandAugment and Cutout.
        strong_UCHW: input of the network: ``plain_UCHW``, with the important region pasted back if Keep is on.
        kept: boxes and saliency shares, or None for the plain augmentation.
    """

    clean_UCHW: Tensor
    plain_UCHW: Tensor
    strong_UCHW: Tensor
    kept: Kept | None


@dataclass(frozen=True)
class StrongViews:
    """Makes strong views from crops.

    Attributes:
        normalize: uint8 -> normalised floats.
        policy: RandAugment.
        cutout: final Cutout of the strong augmentation, or None.
        operation: pastes the important region; None turns it off.
        guide: returns the network whose saliency is used.
        strong: CPU generator of RandAugment's and Cutout's draws, which are the same in plain and Keep runs.
        keep: CPU generator of the pasted regions' draws.
        share: this process's part of the batch; both generators are in the same state in every process.

    Source: Gong et al., CVPR 2021, Sec. 4.3.
    """

    normalize: Normalize
    policy: RandAugment
    cutout: KeepAugment | None
    operation: KeepAugment | None
    guide: Callable[[], nn.Module]
    strong: torch.Generator
    keep: torch.Generator
    share: BatchShard

    def __call__(self, crops_UCHW: Tensor, chosen_U: Tensor | None = None) -> Views:
        """Augment one batch.

        Args:
            crops_UCHW: uint8 crops.
            chosen_U: bool, images to paste into (synchronises with the device); None means all.

        Returns:
            The views.
        """
        clean_UCHW, guide = self.normalize(crops_UCHW), self.guide()
        changed_UCHW = self.policy(crops_UCHW, generator=self.strong, share=self.share)
        plain_UCHW = self.normalize(changed_UCHW)
        if self.cutout is not None:
            plain_UCHW = self.cutout(guide, plain_UCHW, generator=self.strong, share=self.share).images_BCHW
        if self.operation is None:
            return Views(clean_UCHW, plain_UCHW, plain_UCHW, None)
        total = len(crops_UCHW) * self.share.processes
        draws = self.operation.draw(total, *crops_UCHW.shape[-2:], generator=self.keep)
        draws = shard(draws, *self.share, total)
        if chosen_U is not None:
            draws = among(draws, chosen_U.cpu())
        kept = self.operation.apply(guide, clean_UCHW, None, plain_UCHW, draws)
        return Views(clean_UCHW, plain_UCHW, kept.images_BCHW, kept)


def build_strong(
    config: Config,
    guide: Callable[[], nn.Module],
    normalize: Normalize,
    generators: tuple[torch.Generator, torch.Generator],
    share: BatchShard,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> StrongViews:
    """Build the strong augmentation of a config.

    Args:
        config: config of the run.
        guide: returns the network whose saliency is used.
        normalize: uint8 -> normalised floats.
        generators: generators of the augmentation's and of the pasted regions' draws.
        share: this process's part of the batch.
        autocast: returns a context manager for the saliency pass.

    Raises:
        UserError: a level, probability or size is out of range, or the operation is not suitable.

    Source: as :class:`StrongViews`.
    """
    strong, augment = config.strong, config.augment
    if augment.op != "none" and (augment.op, augment.score) != ("paste", "max"):
        raise UserError(
            f"augment: images without labels need op paste and score max, got {augment.op} and {augment.score}"
        )
    check_ranges(strong, "strong.", num_ops=(0, 100), cutout=(0, 4096))
    if config.compile and augment.head == "full":
        augment = replace(augment, head="compiled")
    side = config.data.image_size
    with as_user_error("strong"):
        policy = RandAugment(strong.num_ops, strong.level, strong.space, strong.prob, strong.random_level)
        cutout = KeepCutout(strong.cutout, selector=anywhere) if strong.cutout else None
    with as_user_error("augment"):
        operation = None
        if augment.op != "none":
            operation = replace(build_keep(augment).checked(side, side), autocast=autocast)
    return StrongViews(normalize, policy, cutout, operation, guide, *generators, share)
