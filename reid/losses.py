"""Losses of the strong baseline. Shape legend: B images, D features, K identities."""

import torch
import torch.nn.functional as F
from torch import Tensor


def batch_hard_triplet(features_BD: Tensor, labels_B: Tensor, margin: float = 0.3) -> Tensor:
    """Push each image's farthest positive below its nearest negative.

    Args:
        features_BD: features, not normalised.
        labels_B: int64 identities, with any number of images each.
        margin: margin in Euclidean distance.

    Returns:
        Mean over the images of max(0, d(positive) - d(negative) + margin); an image without another
        of its identity in the batch uses its distance 0 to itself as positive.

    Raises:
        ValueError: all images are of one identity.

    Source: Hermans et al., 2017; michuanhaohao/reid-strong-baseline layers/triplet_loss.py.
    """
    features_BD = features_BD.float()
    squares_B = features_BD.square().sum(1)
    squared_BB = squares_B[:, None] + squares_B[None] - 2.0 * features_BD @ features_BD.T
    distance_BB = squared_BB.clamp_min(1e-12).sqrt()
    same_BB = labels_B[:, None] == labels_B[None]
    positive_B = distance_BB.masked_fill(~same_BB, -torch.inf).amax(1)
    negative_B = distance_BB.masked_fill(same_BB, torch.inf).amin(1)
    return F.relu(positive_B - negative_B + margin).mean()


def centre_loss(features_BD: Tensor, labels_B: Tensor, centres_KD: Tensor) -> Tensor:
    """Pull features towards the centre of their identity.

    Args:
        features_BD: features before the neck.
        labels_B: int64 identities.
        centres_KD: learned centres.

    Returns:
        Mean over the images of the squared distance to their centre.

    Source: Wen et al., ECCV 2016; michuanhaohao/reid-strong-baseline layers/center_loss.py.
    """
    return (features_BD.float() - centres_KD[labels_B]).square().sum(1).mean()
