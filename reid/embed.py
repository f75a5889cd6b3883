"""Embed photos, or the query and gallery of a whole data set, with a network."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from engine.errors import UserError
from engine.loader import EpochLoader, in_order, on_device
from imagesets.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from keepcore import borrowed
from reid.config import Data
from reid.dataset_layouts import Photo, ReidSet
from reid.evaluation.expansion import pool_queries
from reid.evaluation.features import Features, Ints, make_features
from reid.model import ReidModel
from reid.photos import Photos, eval_transform


def embed(
    model: nn.Module, photos: Sequence[Photo], data: Data, accelerator: Accelerator, *, flip: bool = False
) -> Tensor:
    """Embed photos in order, in float32 whatever the precision of the training.

    Args:
        model: a ReidModel; its training or evaluation mode is restored.
        photos: photos to embed.
        data: input size and batch size.
        accelerator: device.
        flip: add the feature of the mirrored image.

    Returns:
        features_ND: float32 on the CPU, rows of length 1.

    Raises:
        UserError: an image cannot be read, or features are not finite.

    Source: Luo et al., CVPRW 2019 (feature after the neck, cosine).
    """
    dataset = Photos(photos, [0] * len(photos), eval_transform(data))
    plan = in_order(range(len(dataset)), data.eval_batch_size)
    loader = EpochLoader(dataset, plan, 0, workers=data.workers)
    normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
    features = []
    with torch.no_grad(), borrowed(model) as network:
        reid = cast(ReidModel, network)
        for batch_BCHW, _ in on_device(loader, accelerator.device):
            images_BCHW = normalize(batch_BCHW)
            features_BD = reid.embed(images_BCHW)
            if flip:
                features_BD = nn.functional.normalize(features_BD + reid.embed(images_BCHW.flip(3)))
            features.append(features_BD)
    features_ND = torch.cat(features).cpu()
    wrong = int((~features_ND.isfinite()).any(1).sum())
    if wrong:
        raise UserError(f"{wrong} of {len(photos)} features are not finite: the network's weights are damaged")
    return features_ND


def embed_source(
    model: nn.Module,
    source: ReidSet,
    data: Data,
    accelerator: Accelerator,
    *,
    flip: bool = False,
    multi_query: bool = False,
) -> Features:
    """Embed the query and gallery images of a data set.

    Args:
        model: a ReidModel.
        source: the data set.
        data: input size and batch size.
        accelerator: device.
        flip: add the features of the mirrored images.
        multi_query: represent each query by the average of its ``gt_bbox`` photographs from the same camera.

    Raises:
        UserError: multi_query is set, but the data set has no such photographs.

    Source: see :func:`embed` and :func:`reid.evaluation.expansion.pool_queries`.
    """
    parts = (source.query, source.gallery)
    query_QD, gallery_GD = (embed(model, part, data, accelerator, flip=flip) for part in parts)
    ids = [numbers(part, "person") for part in parts]
    cams = [numbers(part, "camera") for part in parts] if source.has_cameras else [None, None]
    if multi_query:
        if not source.more:
            raise UserError("multi_query: the data set has no gt_bbox folder with further photographs")
        more_MD = embed(model, source.more, data, accelerator, flip=flip)
        labels = (numbers(source.more, "person"), numbers(source.more, "camera"))
        query_QD = pool_queries(query_QD, ids[0], numbers(source.query, "camera"), more_MD, *labels)
    return make_features(query_QD, gallery_GD, *ids, *cams)


def numbers(photos: Sequence[Photo], name: str) -> Ints:
    """Return one attribute of all photos as int64."""
    return np.array([getattr(photo, name) for photo in photos], np.int64)
