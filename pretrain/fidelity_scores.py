"""Scores of augmented images and their means with bootstrap intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

MEASURED = ("area_cut", "saliency_lost", "object_lost", "label_lost", "flipped")
COLUMNS = ("area_cut", "saliency_lost", "object_lost", "object_per_area", "label_lost", "flipped")
RESAMPLES = 2000


@dataclass(frozen=True)
class BeforeAfter:
    """One batch before and after augmentation.

    Attributes:
        changed_BHW: pixels that the augmentation cut or changed, bool.
        map_BHW: the judge's saliency of the clean images, float32.
        mask_BHW: object pixels, bool; all False for images without a mask.
        labels_B: int64.
        before_BK: predicted probabilities for the clean images.
        after_BK: predicted probabilities for the augmented images.
    """

    changed_BHW: Tensor
    map_BHW: Tensor
    mask_BHW: Tensor
    labels_B: Tensor
    before_BK: Tensor
    after_BK: Tensor


def scores(pair: BeforeAfter) -> Tensor:
    """Compute the scores of a batch.

    Args:
        pair: images before and after, with the judge's output for both.

    Returns:
        values_B5, float32, in the order of MEASURED: area cut, saliency lost (NaN for a map of zeros), object lost
        (NaN without an object), label lost, flipped.

    Source: Gong et al., CVPR 2021, Figures 1 and 2 (their argument in numbers).
    """
    changed_BHW = pair.changed_BHW.float()
    lost_B = (changed_BHW * pair.map_BHW).sum((1, 2)) / pair.map_BHW.sum((1, 2))
    mask_BHW = pair.mask_BHW.float()
    object_B = (changed_BHW * mask_BHW).sum((1, 2)) / mask_BHW.sum((1, 2))
    index_B1 = pair.labels_B[:, None]
    drop_B = (pair.before_BK.gather(1, index_B1) - pair.after_BK.gather(1, index_B1))[:, 0]
    right_B = pair.before_BK.argmax(1) == pair.labels_B
    flipped_B = right_B & (pair.after_BK.argmax(1) != pair.labels_B)
    return torch.stack([changed_BHW.mean((1, 2)), lost_B, object_B, drop_B, flipped_B.float()], dim=1)


def summarise(values: Mapping[str, Any], plain: Mapping[str, str], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Average the scores and bootstrap their intervals over images.

    Args:
        values: row -> float64 N x 5, each image's scores in the order of MEASURED, NaN where there is none.
        plain: row -> the plain row that it is compared with.
        seed: seed of the resampling; all rows use the same resamples.

    Returns:
        Row -> column -> ``mean``, ``low`` and ``high``; and under ``minus_plain`` the same of the paired
        difference. Percent and points, but object_per_area, a ratio of means. None where nothing was measured.

    Source: paired bootstrap, percentile method (Efron and Tibshirani, 1993).
    """
    count = len(next(iter(values.values())))
    rng = np.random.default_rng(seed)
    weights_RN = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    weights_RN[0] = 1  # the first row is the sample itself
    means = {row: _columns(value, weights_RN) for row, value in values.items()}
    summary: dict[str, dict[str, Any]] = {}
    for row, columns in means.items():
        summary[row] = {name: _interval(columns[name]) for name in COLUMNS}
        if plain[row] != row:
            reference = means[plain[row]]
            summary[row]["minus_plain"] = {name: _interval(columns[name] - reference[name]) for name in COLUMNS}
    return summary


def _columns(values_N5: Any, weights_RN: Any) -> dict[str, Any]:
    """Return the mean of every column in every resample."""
    known_N5 = ~np.isnan(values_N5)
    with np.errstate(invalid="ignore", divide="ignore"):
        means_R5 = (weights_RN @ np.nan_to_num(values_N5)) / (weights_RN @ known_N5)
        has_object_N = known_N5[:, MEASURED.index("object_lost")]
        area_R = (weights_RN @ (values_N5[:, 0] * has_object_N)) / (weights_RN @ has_object_N)
        ratio_R = means_R5[:, MEASURED.index("object_lost")] / area_R
    return {name: 100 * means_R5[:, i] for i, name in enumerate(MEASURED)} | {"object_per_area": ratio_R}


def _interval(values_R: Any) -> dict[str, float | None]:
    if not np.isfinite(values_R[0]):
        return {"mean": None, "low": None, "high": None}
    low, high = np.nanquantile(values_R[1:], (0.025, 0.975))
    return {"mean": float(values_R[0]), "low": float(low), "high": float(high)}
