"""KeepAugment: saliency -> scores -> box -> composite, in that order.

Images are normalised floats, B x C x H x W.
Shape legend: B images, P images selected for augmentation, 4 box edges.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor, nn

from keepcore.borrow import borrowed
from keepcore.boxes import kept_share
from keepcore.compose import Composer, FillFn, Layers, constant
from keepcore.controls import CONTROLS
from keepcore.draws import BatchShard, Draws, shard
from keepcore.early_head import HeadFn, full_logits
from keepcore.kept import Kept, unchanged
from keepcore.regions import Selector
from keepcore.saliency import LogitsFn, SaliencyFn, input_gradient, warn_if_sparse
from keepcore.scores import candidates
from keepcore.selection import MATCHES, Selection, select_boxes, select_without_map, share_inside
from keepcore.sizes import SizeFn
from keepcore.traits import has_trait


@dataclass(frozen=True, kw_only=True)
class KeepAugment:
    """Augment a batch without destroying the important regions of its images.

    The fields are independent of one another; KeepCutout, KeepRandomErasing, KeepCutMix and KeepPaste set them.

    Attributes:
        size: draws the region's height and width.
        selector: ``below`` (cut), ``above`` (paste) or ``anywhere`` (no saliency: the plain augmentation). One
            that needs no saliency declares so with :func:`keepcore.traits.declare`.
        composer: ``cut``, ``paste`` or ``cutmix``. One that mixes in another image declares it.
        quantile: tau in [0, 1].
        border: ``"inside"`` or ``"clip"``, see :func:`keepcore.scores.candidates`.
        reduce: ``"sum"`` or ``"mean"`` of the saliency in a box.
        prob: probability of augmentation, in [0, 1]; saliency is computed only for the selected images.
        coin: whether the decision to augment is made per ``"image"`` or per ``"batch"``.
        fill: colour of cut regions.
        policy: on-device augmentation for paste; used when no augmented images are given.
        saliency: computes the map; wrap with :func:`keepcore.at_scale` for low resolution.
        head: module -> logits_fn; :func:`keepcore.early_logits` stops after the first stage.
        bn: BatchNorm during the saliency pass, see :func:`keepcore.borrowed`.
        autocast: surrounds the saliency pass, e.g. ``accelerator.autocast``, and applies to its network alone.
        match: ``any``, or ``area``: select among the candidates of the size that the plain augmentation has after
            clipping, so that Keep changes where the region is and never how large; see
            :func:`keepcore.selection.same_size_as_plain`.
        control: ``none``; ``shuffled``: each image gets the box chosen for the image before it in the batch, so
            that areas and positions are distributed as with Keep, but the box knows nothing of its image;
            ``same_size``: the chosen box moves to a random place inside the image.
    """

    size: SizeFn
    selector: Selector
    composer: Composer
    quantile: float = 0.6
    border: str = "inside"
    reduce: str = "sum"
    prob: float = 1.0
    coin: str = "image"
    fill: FillFn = field(default_factory=constant)
    policy: Callable[[Tensor], Tensor] | None = None
    saliency: SaliencyFn = input_gradient
    head: HeadFn = full_logits
    bn: str = "eval"
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    match: str = "any"
    control: str = "none"

    def __post_init__(self) -> None:
        for name in ("quantile", "prob"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.coin not in ("image", "batch"):
            raise ValueError(f"coin must be 'image' or 'batch', got {self.coin!r}")
        if self.match not in MATCHES:
            raise ValueError(f"match must be one of {', '.join(MATCHES)}, got {self.match!r}")
        if self.control not in ("none", *CONTROLS):
            raise ValueError(f"control must be one of none, {', '.join(CONTROLS)}, got {self.control!r}")

    def __call__(
        self,
        model: nn.Module | LogitsFn,
        images_BCHW: Tensor,
        labels_B: Tensor | None = None,
        augmented_BCHW: Tensor | None = None,
        *,
        map_BHW: Tensor | None = None,
        generator: torch.Generator | None = None,
        share: BatchShard = BatchShard(),  # noqa: B008 - immutable
    ) -> Kept:
        """Augment one batch.

        Args:
            model: the network being trained, whose modes and gradients are left untouched, or any
                function images -> logits_BK.
            images_BCHW: clean, normalised floats; never written to.
            labels_B: int64 labels or float weights target_BK, for scores that need them.
            augmented_BCHW: another view of the same pixels, e.g. from :class:`keepcore.TwoViews`. Paste puts
                the important region back on it; cut and CutMix change it instead of the clean image.
            map_BHW: saliency maps computed elsewhere, float32, e.g. kept by a :class:`keepcore.MapCache`; None
                computes them with ``saliency``.
            generator: source of randomness; one on the CPU avoids waiting for the device. None uses
                torch's global one.
            share: part of the batch that this process holds; all processes have generators in the same state.

        Returns:
            Kept: images, boxes and what a mixed loss needs.

        Raises:
            ValueError: wrong shapes or types, missing labels or augmented images, region larger than the
                image (border ``"inside"``).

        Example:
            >>> keep = KeepCutout(2, quantile=0.6)
            >>> net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10))
            >>> images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
            >>> keep(net, images, labels, generator=torch.Generator().manual_seed(0)).images_BCHW.shape
            torch.Size([4, 3, 8, 8])

        Source: Gong et al., CVPR 2021, Algorithm 1.
        """
        if augmented_BCHW is None and self.policy is not None:
            augmented_BCHW = self.policy(images_BCHW)
        total = len(images_BCHW) * share.processes
        draws = self.draw(total, *images_BCHW.shape[-2:], generator=generator)
        mine = draws if share.processes == 1 else shard(draws, *share, total)
        return self.apply(model, images_BCHW, labels_B, augmented_BCHW, mine, map_BHW)

    def draw(self, batch: int, height: int, width: int, *, generator: torch.Generator | None) -> Draws:
        """Draw all random numbers of one step; how many are drawn depends on the arguments alone."""
        generator = torch.default_generator if generator is None else generator
        device = generator.device
        coins_B = torch.rand(batch if self.coin == "image" else 1, generator=generator, device=device)
        fires_B = (coins_B < self.prob).expand(batch).cpu()
        sizes_S2 = self.size(batch, height, width, generator).cpu()
        u_B = torch.rand(batch, generator=generator, device=device, dtype=torch.float64).cpu()
        perm_B = torch.randperm(batch, generator=generator, device=device).cpu()
        noise_seed = int(torch.randint(2**62, (1,), generator=generator, device=device))
        picked_P = fires_B.nonzero()[:, 0]
        return Draws(
            picked_P=picked_P,
            sizes_S2=sizes_S2 if len(sizes_S2) == 1 else sizes_S2[picked_P],
            u_P=u_B[picked_P],
            partner_P=perm_B[picked_P] if has_trait(self.composer, "needs_partner", default=False) else None,
            noise_seed=noise_seed,
        )

    def apply(
        self,
        model: nn.Module | LogitsFn,
        images_BCHW: Tensor,
        labels_B: Tensor | None,
        augmented_BCHW: Tensor | None,
        draws: Draws,
        map_BHW: Tensor | None = None,
    ) -> Kept:
        """Apply draws deterministically; the arguments are those of ``__call__``."""
        base_BCHW = _base(images_BCHW, augmented_BCHW)
        batch, device = len(images_BCHW), images_BCHW.device
        if len(draws.picked_P) == 0:
            return unchanged(base_BCHW, draws)
        everything = len(draws.picked_P) == batch
        picked_P = draws.picked_P.to(device, non_blocking=True)
        clean_PCHW = images_BCHW if everything else images_BCHW[picked_P]
        same = base_BCHW is images_BCHW
        base_PCHW = clean_PCHW if same else base_BCHW if everything else base_BCHW[picked_P]
        labels_P = labels_B if everything or labels_B is None else labels_B[picked_P]
        map_PHW = map_BHW if everything or map_BHW is None else map_BHW[picked_P]
        boxes_P4, share_P, flat_P = self._select(model, clean_PCHW, labels_P, draws, map_PHW)
        partner_P = None if draws.partner_P is None else draws.partner_P.to(device, non_blocking=True)
        layers = Layers(
            clean_BCHW=clean_PCHW,
            base_BCHW=base_PCHW,
            partner_BCHW=None if partner_P is None else base_BCHW[partner_P],
            fill=self.fill,
            generator=torch.Generator(device).manual_seed(draws.noise_seed),
        )
        images_PCHW = self.composer(layers, boxes_P4)
        lam_P = kept_share(boxes_P4, *images_BCHW.shape[-2:]) if partner_P is not None else None
        plain = unchanged(base_BCHW, draws)
        return Kept(
            images_BCHW=images_PCHW if everything else base_BCHW.index_copy(0, picked_P, images_PCHW),
            boxes_B4=plain.boxes_B4.index_copy(0, picked_P, boxes_P4),
            lam_B=plain.lam_B if lam_P is None else plain.lam_B.index_copy(0, picked_P, lam_P),
            partner_B=None
            if plain.partner_B is None or partner_P is None
            else plain.partner_B.index_copy(0, picked_P, partner_P),
            share_B=plain.share_B.index_copy(0, picked_P, share_P),
            flat_B=plain.flat_B.index_copy(0, picked_P, flat_P),
        )

    def checked(self, height: int, width: int) -> Self:
        """Check that the regions fit images of a given size, and return the operation.

        Args:
            height: height of the images, pixels.
            width: width of the images, pixels.

        Raises:
            ValueError: a region is larger than the image where it must lie inside, or the border is unknown.
        """
        sizes_S2 = self.size(1, height, width, torch.Generator().manual_seed(0))
        candidates(sizes_S2, height, width, self.border)
        return self

    def bind(self, model: nn.Module, num_classes: int) -> "Bound":
        """Return the operation as one of torchvision's batch transforms: (images, labels) -> (images, labels).

        Args:
            model: the network being trained.
            num_classes: K, for soft labels.

        Returns:
            A callable that can replace ``torchvision.transforms.v2.CutMix``.
        """
        return Bound(self, model, num_classes)

    def _select(
        self,
        model: nn.Module | LogitsFn,
        clean_PCHW: Tensor,
        labels_P: Tensor | None,
        draws: Draws,
        map_PHW: Tensor | None,
    ) -> Selection:
        """Select one box per image."""
        batch, _, height, width = clean_PCHW.shape
        device = clean_PCHW.device
        if not has_trait(self.selector, "uses_saliency", default=True):
            boxes_P4 = select_without_map(
                draws, height, width, selector=self.selector, quantile=self.quantile, border=self.border
            )
            nothing = torch.full((batch,), torch.nan, device=device)
            flat_P = torch.zeros(batch, dtype=torch.bool, device=device)
            return Selection(boxes_P4.to(device, non_blocking=True), nothing, flat_P)
        generator = torch.Generator(device).manual_seed(draws.noise_seed ^ 1)
        if map_PHW is not None and map_PHW.shape != (batch, height, width):
            raise ValueError(f"map must have the shape {(batch, height, width)}, got {tuple(map_PHW.shape)}")
        if map_PHW is None:
            map_PHW = self.map_of(model, clean_PCHW, labels_P, generator)
        selection = select_boxes(
            map_PHW,
            draws,
            selector=self.selector,
            quantile=self.quantile,
            border=self.border,
            reduce=self.reduce,
            match=self.match,
        )
        if self.control == "none":
            return selection
        boxes_P4 = CONTROLS[self.control](selection.boxes_P4, height, width, generator)
        usable_PHW = map_PHW.masked_fill(selection.flat_P[:, None, None], 1.0)
        return selection._replace(boxes_P4=boxes_P4, share_P=share_inside(usable_PHW, boxes_P4))

    def map_of(
        self,
        model: nn.Module | LogitsFn,
        images_BCHW: Tensor,
        labels_B: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Compute the saliency map_BHW alone, float32, for pictures and measurements.

        Args:
            model: see ``__call__``.
            images_BCHW: clean, normalised floats.
            labels_B: labels, for scores that need them.
            generator: generator on the images' device, for maps of noise; None seeds one with 0.
        """
        more = {}
        if has_trait(self.saliency, "needs_generator", default=False):
            more = {"generator": generator or torch.Generator(images_BCHW.device).manual_seed(0)}
        if not isinstance(model, nn.Module):
            with self.autocast():
                return self.saliency(model, images_BCHW, labels_B, **more)
        with borrowed(model, self.bn) as inner, self.autocast():
            map_BHW = self.saliency(self.head(inner), images_BCHW, labels_B, **more)
            warn_if_sparse(map_BHW, inner)
            return map_BHW


@dataclass(frozen=True)
class Bound:
    """A KeepAugment with its model, called like a torchvision v2 batch transform."""

    keep: KeepAugment
    model: nn.Module
    num_classes: int
    generator: torch.Generator | None = None

    def __call__(self, images_BCHW: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return (images_BCHW, labels_B or soft target_BK)."""
        kept = self.keep(self.model, images_BCHW, labels_B, generator=self.generator)
        return kept.images_BCHW, kept.target(labels_B, self.num_classes)


def _base(images_BCHW: Tensor, augmented_BCHW: Tensor | None) -> Tensor:
    if augmented_BCHW is None:
        return images_BCHW
    if augmented_BCHW.shape != images_BCHW.shape:
        shapes = f"{tuple(augmented_BCHW.shape)} and {tuple(images_BCHW.shape)}"
        raise ValueError(f"augmented and clean images must have one shape, got {shapes}")
    return augmented_BCHW
