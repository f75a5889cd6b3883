"""Losses of the strong baseline. Shape legend: B images, D features, K identities."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.distributed.nn.functional import all_gather

from keepcore.precision import without_autocast


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
    if labels_B.device.type == "cpu" and bool((labels_B == labels_B[0]).all()):  # on a GPU this would wait
        raise ValueError("the triplet loss needs at least two identities in a batch")
    with without_autocast(features_BD):
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


def gather_batch(features_BD: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """Collect the features and labels of all processes, so that mining sees the whole batch.

    The gradient flows back to every process. Each computes the same loss, so that DistributedDataParallel averages
    the weights' gradients to those of one process with the whole batch.

    Args:
        features_BD: features of this process.
        labels_B: their identities; every process has as many.

    Returns:
        features_AD and labels_A of all processes; the arguments themselves in a single process.

    Source: torch.distributed.nn.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return features_BD, labels_B
    labels = [torch.empty_like(labels_B) for _ in range(dist.get_world_size())]
    dist.all_gather(labels, labels_B)
    return torch.cat(all_gather(features_BD.contiguous())), torch.cat(labels)
