"""The result of an augmentation.

Shape legend: B images, 4 box edges, K classes.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from keepcore.draws import Draws


class Kept(NamedTuple):
    """The result for a whole batch.

    Attributes:
        images_BCHW: the augmented images.
        boxes_B4: int64 ``(y0, x0, y1, x1)``; empty for images that were left unchanged.
        lam_B: float32 weight of the image's own label; 1 unless images were mixed.
        partner_B: int64 index of the image mixed in (its own index if none was); None unless the
            composer needs a partner.
        share_B: float32 share of the image's saliency inside its box; NaN if no saliency was computed.
        flat_B: bool, the map was constant or not finite, so the box was drawn uniformly.
    """

    images_BCHW: Tensor
    boxes_B4: Tensor
    lam_B: Tensor
    partner_B: Tensor | None
    share_B: Tensor
    flat_B: Tensor

    def target(self, labels_B: Tensor, num_classes: int) -> Tensor:
        """Return the target of the loss: the labels, or soft labels if images were mixed.

        Args:
            labels_B: int64 labels in [0, num_classes), or float weights target_BK.
            num_classes: K.

        Returns:
            ``labels_B`` itself, or float target_BK with rows summing to 1, if those of the labels do
            (``F.cross_entropy`` takes both).
        """
        if self.partner_B is None:
            return labels_B
        own_BK = labels_B if labels_B.is_floating_point() else F.one_hot(labels_B, num_classes).float()
        return own_BK * self.lam_B[:, None] + own_BK[self.partner_B] * (1.0 - self.lam_B[:, None])


def unchanged(base_BCHW: Tensor, draws: Draws) -> Kept:
    """Return the result for a batch that no draw has selected.

    Args:
        base_BCHW: images to be changed.
        draws: random numbers of the step; say whether images would be mixed.

    Source: Gong et al., CVPR 2021, Algorithm 1.
    """
    batch, device = len(base_BCHW), base_BCHW.device
    return Kept(
        images_BCHW=base_BCHW,
        boxes_B4=torch.zeros(batch, 4, dtype=torch.int64, device=device),
        lam_B=torch.ones(batch, device=device),
        partner_B=None if draws.partner_P is None else torch.arange(batch, device=device),
        share_B=torch.full((batch,), torch.nan, device=device),
        flat_B=torch.zeros(batch, dtype=torch.bool, device=device),
    )
