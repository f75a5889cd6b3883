"""Batches of P identities with K images each."""

from collections import defaultdict
from collections.abc import Sequence

import torch

from engine.errors import UserError
from engine.loader import BatchPlan
from engine.seed import generator


def identity_batches(
    labels: Sequence[int], identities: int, images: int, seed: int, *, rank: int = 0, processes: int = 1
) -> BatchPlan:
    """Plan epochs of P x K batches.

    Each identity's images are shuffled and cut into groups of K (an identity with fewer is drawn from with
    replacement; a remainder sits this epoch out). Batches take groups of P random identities until fewer
    than P identities have groups left.

    Args:
        labels: identity of each sample.
        identities: P, over all processes.
        images: K.
        seed: of the run.
        rank: of this process.
        processes: how many share each batch; each gets P / processes identities.

    Returns:
        The plan; epochs differ in order and, slightly, in length.

    Raises:
        UserError: fewer than P identities, or P is not a multiple of the number of processes.

    Source: michuanhaohao/reid-strong-baseline data/samplers/triplet_sampler.py.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    if identities > len(members) or min(identities, images) < 1:
        raise UserError(f"batches of {identities} identities need as many in the set, it has {len(members)}")
    if identities % processes:
        raise UserError(f"{identities} identities per batch do not divide among {processes} processes")

    def plan(epoch: int) -> list[list[int]]:
        draws = generator(seed, "identities", epoch)
        groups = {label: _groups(members[label], images, draws) for label in sorted(members)}
        batches = []
        while len(groups) >= identities:
            open_labels = list(groups)
            people = [open_labels[i] for i in torch.randperm(len(open_labels), generator=draws)[:identities]]
            batch = [groups[label].pop() for label in people]
            groups = {label: left for label, left in groups.items() if left}
            mine = batch[rank * identities // processes : (rank + 1) * identities // processes]
            batches.append([index for group in mine for index in group])
        return batches

    return plan


def _groups(indices: list[int], images: int, draws: torch.Generator) -> list[list[int]]:
    if len(indices) < images:
        picked = torch.randint(len(indices), (images,), generator=draws).tolist()
        return [[indices[i] for i in picked]]
    order = torch.randperm(len(indices), generator=draws).tolist()
    return [[indices[i] for i in order[s : s + images]] for s in range(0, len(order) - images + 1, images)]
