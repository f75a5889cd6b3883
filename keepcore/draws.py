"""The random numbers of one training step, drawn before they are applied.

Shape legend: B images of a batch, P images selected for augmentation, S sizes (1 or P).
"""

from typing import NamedTuple

from torch import Tensor


class Draws(NamedTuple):
    """All randomness of one step, on the CPU; independent of saliency and of the quantile.

    Attributes:
        picked_P: int64 indices of the images to change.
        sizes_S2: int64 (height, width), S = 1 or P.
        u_P: float64 in [0, 1), which choose among the eligible boxes.
        partner_P: int64 index of the image mixed in; None unless the composer needs a partner.
        noise_seed: seed of the fill's noise, which is generated on the images' device.
    """

    picked_P: Tensor
    sizes_S2: Tensor
    u_P: Tensor
    partner_P: Tensor | None
    noise_seed: int


class BatchShard(NamedTuple):
    """The part of a batch that one process holds: every process draws for the whole batch and keeps its own part.

    Attributes:
        rank: index of the process.
        processes: number of processes that share the batch, in consecutive parts.
    """

    rank: int = 0
    processes: int = 1


def shard(draws: Draws, rank: int, processes: int, batch: int) -> Draws:
    """Select one process's part of the draws of a whole step.

    With the same generator state in every process, several processes then augment an image as a single one would;
    only partners are chosen within the process.

    Args:
        draws: result of :meth:`keepcore.KeepAugment.draw` for the whole batch.
        rank: index of the process.
        processes: number of processes that share the batch, in consecutive parts.
        batch: number of images over all processes.

    Returns:
        Draws for the ``batch / processes`` images of this process.

    Raises:
        ValueError: the batch does not divide among the processes.
    """
    if batch % processes:
        raise ValueError(f"a batch of {batch} images does not divide among {processes} processes")
    share = batch // processes
    first = rank * share
    mine = _filter(draws, (draws.picked_P >= first) & (draws.picked_P < first + share))
    picked_P, partner_P = mine.picked_P - first, mine.partner_P
    return mine._replace(
        picked_P=picked_P,
        partner_P=None if partner_P is None else picked_P[partner_P.argsort().argsort()],
        noise_seed=draws.noise_seed + rank,
    )


def among(draws: Draws, mask_B: Tensor) -> Draws:
    """Leave images out: they stay as they are, and no saliency map is computed for them.

    Args:
        draws: draws of a step that mixes no images.
        mask_B: bool on the CPU, True for the images that may change.

    Returns:
        Draws for the picked images inside the mask.

    Raises:
        ValueError: the draws mix images.
    """
    if draws.partner_P is not None:
        raise ValueError("images that are mixed with one another cannot be left out one by one")
    return _filter(draws, mask_B[draws.picked_P])


def _filter(draws: Draws, mask_P: Tensor) -> Draws:
    per_image = len(draws.sizes_S2) == len(mask_P) > 1
    return draws._replace(
        picked_P=draws.picked_P[mask_P],
        sizes_S2=draws.sizes_S2[mask_P] if per_image else draws.sizes_S2,
        u_P=draws.u_P[mask_P],
        partner_P=None if draws.partner_P is None else draws.partner_P[mask_P],
    )
