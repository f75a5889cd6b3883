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

    Each identity's images are shuffled and split into groups of K; an identity with fewer images is sampled with
    replacement, and a remainder is not used in this epoch. Batches combine groups of P random identities until
    fewer than P identities have groups left.

    Args:
        labels: identity of each sample.
        identities: identities per batch over all processes, P.
        images: images per identity, K.
        seed: seed of the run.
        rank: rank of this process.
        processes: number of processes that share each batch; each gets P / processes identities.

    Returns:
        The plan; epochs differ in order and, slightly, in length.

    Raises:
        UserError: there are fewer than P identities, or P is not a multiple of the number of processes.

    Source: michuanhaohao/reid-strong-baseline data/samplers/triplet_sampler.py.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    if identities > len(members) or min(identities, images) < 1:
        raise UserError(f"data.identities must be in [1, {len(members)}] for this data set, got {identities}")
    if identities % processes:
        raise UserError(f"data.identities must be a multiple of the {processes} processes, got {identities}")

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
