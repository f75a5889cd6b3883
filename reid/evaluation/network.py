"""The metric of a training run: embed query and gallery, rank."""

from accelerate import Accelerator
from torch import nn

from reid.config import Data
from reid.embed import embed_source
from reid.evaluation.metrics import metrics
from reid.evaluation.rank import feature_blocks, rank_positives
from reid.sources import ReidSet


def evaluate_network(model: nn.Module, source: ReidSet, data: Data, accelerator: Accelerator) -> dict[str, float]:
    """Evaluate a network during training; every process does it all, so that all agree.

    Args:
        model: a ReidModel; left in the mode it came in.
        source: the data set.
        data: input size and batch.
        accelerator: devices.

    Returns:
        See :func:`reid.evaluation.metrics.metrics`.

    Source: Market-1501 protocol.
    """
    features = embed_source(model, source, data, accelerator)
    return metrics(rank_positives(feature_blocks(features.query_QD, features.gallery_GD, features.labels)))
