"""The classifier: timm's or ours, with an early head where saliency asks for one."""

from __future__ import annotations

from typing import Any

from torch import nn

import networks  # noqa: F401  (registers the CIFAR networks with timm)
from keepcore.early_head import with_early_head
from networks.create import create_network
from semi_supervised.config import Config


def create(name: str, num_classes: int, options: dict[str, Any]) -> nn.Module:
    """Make a classifier by its timm name.

    Raises:
        UserError: unknown name (with the nearest one) or an option that it does not take.

    Source: timm.create_model.
    """
    return create_network(name, num_classes, options)


def build_model(config: Config, num_classes: int) -> nn.Module:
    """Make the training module of a config.

    Raises:
        UserError: see :func:`create`.

    Source: Gong et al., CVPR 2021, Sec. 3.1 (early head).
    """
    model = create(config.model, num_classes, config.model_options)
    if config.augment.op != "none" and config.augment.head == "early":
        return with_early_head(model, num_classes, config.early_after, config.data.image_size)
    return model
