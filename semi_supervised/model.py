"""The classifier: timm's or ours."""

from __future__ import annotations

import timm
from torch import nn

import networks  # noqa: F401  (registers the CIFAR networks with timm)
from keepcore.run.errors import UserError, nearest


def create(name: str, num_classes: int) -> nn.Module:
    """Make a classifier by its timm name.

    Raises:
        UserError: unknown name, with the nearest one.

    Source: timm.create_model.
    """
    if not timm.is_model(name):
        raise UserError(f"model: unknown model {name!r}{nearest(name, timm.list_models())}")
    model: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes)
    return model
