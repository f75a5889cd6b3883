"""Single-gallery-shot CMC (CUHK03 protocol): the gallery has one random image of each identity."""

from typing import Any

import numpy as np

from reid.evaluation.features import Labels
from reid.evaluation.rank import Block


class SingleShot:
    """Count, block by block, how often the only positive is among the first k.

    Each repeat draws one image of every identity; for the query's own identity, the image is from another camera.
    The mean over the repeats is reported.

    Args:
        labels: labels of the features.
        repeats: number of draws.
        seed: seed of the draws.

    Source: CUHK03's protocol as in torchreid/metrics/rank.py, but seeded, and with one draw of the other
        identities shared by all queries of a repeat.
    """

    def __init__(self, labels: Labels, repeats: int = 10, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        ids_G = np.sort(labels.gallery_ids)
        _, starts, counts = np.unique(ids_G, return_index=True, return_counts=True)
        self._chosen = [starts + self._rng.integers(0, counts) for _ in range(repeats)]
        self._of_column = np.repeat(np.arange(len(starts)), counts)  # identity of each column
        self._ranks: list[Any] = []

    def __call__(self, block: Block) -> None:
        """Rank one drawn positive of every query, in every repeat."""
        positives = [
            np.flatnonzero(~same) + own.start for own, same in zip(block.own, block.same_camera, strict=True)
        ]
        valid = [i for i, own in enumerate(positives) if len(own)]
        for picks in self._chosen:
            picks_CJ = block.distance_CG[:, picks]
            mine = [positives[i][self._rng.integers(len(positives[i]))] for i in valid]
            goal_V = block.distance_CG[valid, mine]
            own_V = self._of_column[mine]
            nearer_VJ = picks_CJ[valid] < goal_V[:, None]
            nearer_VJ[np.arange(len(valid)), own_V] = False
            ties_VJ = (picks_CJ[valid] == goal_V[:, None]) & (block.order_G[picks] < block.order_G[mine][:, None])
            ties_VJ[np.arange(len(valid)), own_V] = False
            self._ranks.append(1 + nearer_VJ.sum(1) + ties_VJ.sum(1))

    def result(self, top: tuple[int, ...] = (1, 5, 10)) -> dict[str, float]:
        """Return ``single_shot_rank1`` etc., in percent."""
        ranks = np.concatenate(self._ranks)
        return {f"single_shot_rank{k}": 100 * float((ranks <= k).mean()) for k in top}
