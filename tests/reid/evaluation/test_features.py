"""Features of other toolboxes: what counts as junk."""

import numpy as np
import pytest
import torch

from reid.evaluation.features import make_features
from reid.evaluation.report import evaluate_features


def test_junk_in_the_gallery_is_left_out_and_reported():
    rng = np.random.default_rng(0)
    query, gallery = (torch.tensor(rng.normal(size=(n, 16)), dtype=torch.float32) for n in (12, 60))
    ids = (np.arange(12) % 4, np.arange(60) % 4)
    cams = (np.zeros(12, int), np.ones(60, int))
    clean = evaluate_features(make_features(query, gallery, *ids, *cams))
    junk = query.repeat(2, 1) + 0.01  # detections of the queries themselves
    with_junk = make_features(
        query,
        torch.cat([gallery, junk]),
        ids[0],
        np.concatenate([ids[1], np.full(24, -1)]),
        cams[0],
        np.concatenate([cams[1], np.ones(24, int)]),
    )
    report = evaluate_features(with_junk)
    assert len(with_junk.gallery_GD) == len(with_junk.labels.gallery_ids) == 60
    assert report.numbers["mAP"] == pytest.approx(clean.numbers["mAP"])
    assert any("24 gallery images with id -1 (junk) were left out" in remark for remark in report.remarks)
