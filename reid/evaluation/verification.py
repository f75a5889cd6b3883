"""Verification: error rates of a similarity threshold over all pairs of query and gallery images."""

from typing import Any

import numpy as np

from reid.evaluation.rank import Block

BINS = 1 << 16


class Verification:
    """Histograms of similarities, filled block by block: same person (other camera), and different people.

    Args:
        low: smallest possible similarity; -1 for cosine.
        high: largest possible similarity; 1 for cosine.

    Scores are binned with width (high - low) / 65,536, which is the resolution of every threshold.

    Source: JDAI-CV/fast-reid fastreid/evaluation/roc.py reports TPR at FPR of 1e-4, 1e-3 and 1e-2.
    """

    def __init__(self, low: float = -1.0, high: float = 1.0) -> None:
        self.low, self.high = low, high
        self.same_B, self.other_B = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)

    def __call__(self, block: Block) -> None:
        """Count the pairs of a block."""
        scale = BINS / (self.high - self.low)
        bins_CG = ((-block.distance_CG - np.float32(self.low)) * np.float32(scale)).astype(np.int32)
        np.clip(bins_CG, 0, BINS - 1, out=bins_CG)
        self.other_B += np.bincount(bins_CG.ravel(), minlength=BINS)
        for row_G, own, same in zip(bins_CG, block.own, block.same_camera, strict=True):
            mine = np.bincount(row_G[own], minlength=0)
            self.other_B[: len(mine)] -= mine
            right = np.bincount(row_G[own][~same], minlength=0)
            self.same_B[: len(right)] += right

    def result(self, at: tuple[float, ...] = (1e-4, 1e-3, 1e-2)) -> dict[str, float]:
        """Compute the verification metrics.

        Returns:
            ``tpr_at_fpr_0.001`` (percent) and its threshold ``threshold_at_fpr_0.001`` (smallest similarity
            accepted as "same"), omitted if no threshold reaches that rate; ``eer`` (percent), at which equal
            shares of both kinds of pairs are misclassified, and ``threshold_eer``.
        """
        same, other = (
            np.cumsum(counts[::-1])[::-1] for counts in (self.same_B, self.other_B)
        )  # pairs accepted from each bin up
        if not same[0] or not other[0]:
            return {}
        tpr, fpr = same / same[0], other / other[0]
        edges = self.low + np.arange(BINS) * (self.high - self.low) / BINS
        numbers: dict[str, float] = {}
        for level in at:
            if not (fpr <= level).any():
                continue  # too many pairs of different people are in the top bin
            bin_ = int(np.argmax(fpr <= level))
            numbers[f"tpr_at_fpr_{level:g}"] = 100 * float(tpr[bin_])
            numbers[f"threshold_at_fpr_{level:g}"] = float(edges[bin_])
        equal = int(np.argmin(np.abs((1 - tpr) - fpr)))
        numbers["eer"] = 50 * float(1 - tpr[equal] + fpr[equal])
        numbers["threshold_eer"] = float(edges[equal])
        return numbers

    def remarks(self, at: tuple[float, ...] = (1e-4, 1e-3, 1e-2)) -> list[str]:
        """Report the false-positive rates that no threshold reaches."""
        total, top = int(self.other_B.sum()), int(self.other_B[-1])
        unreachable = [f"{level:g}" for level in at if total and top / total > level]
        if not unreachable:
            return []
        return [
            f"{top} pairs of different people have the highest similarity: no threshold reaches a false-positive "
            f"rate of {', '.join(unreachable)}"
        ]

    def histograms(self, bars: int = 100) -> tuple[Any, Any, Any]:
        """Return the edges (bars + 1) and the shares of same-person and other pairs in each bar."""
        edges = np.linspace(self.low, self.high, bars + 1)
        at = np.arange(BINS) * bars // BINS
        shares = [
            np.bincount(at, counts, minlength=bars) / max(1, counts.sum())
            for counts in (self.same_B, self.other_B)
        ]
        return edges, shares[0], shares[1]
