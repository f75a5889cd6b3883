"""Evaluation during training: embed query and gallery, and rank."""

from accelerate import Accelerator
from torch import nn

from reid.config import Data
from reid.dataset_layouts import ReidSet
from reid.embed import embed_source
from reid.evaluation.metrics import metrics
from reid.evaluation.rank import feature_blocks, rank_positives


def evaluate_network(model: nn.Module, source: ReidSet, data: Data, accelerator: Accelerator) -> dict[str, float]:
    """Evaluate a network during training; every process evaluates the whole set, so that all results agree.

    Args:
        model: a ReidModel; its training or evaluation mode is restored.
        source: the data set.
        data: input size and batch size.
        accelerator: device and precision.

    Returns:
        See :func:`reid.evaluation.metrics.metrics`.

    Source: Market-1501 protocol.
    """
    features = embed_source(model, source, data, accelerator)
    return metrics(rank_positives(feature_blocks(features.query_QD, features.gallery_GD, features.labels)))
