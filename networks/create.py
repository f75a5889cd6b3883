"""Networks by name: timm's, and the CIFAR networks that this package registers with timm."""

from collections.abc import Mapping
from typing import Any

import timm
from torch import nn

import networks  # noqa: F401  (registers the CIFAR networks with timm)
from engine.errors import UserError, nearest, one_line


def create_network(name: str, num_classes: int, options: Mapping[str, Any], field: str = "model") -> nn.Module:
    """Make a network by its timm name, without pretrained weights.

    Args:
        name: of timm, or of a network registered with it.
        num_classes: K.
        options: more arguments of the network.
        field: of the config, for messages: ``field.name`` and ``field.options`` or the like.

    Raises:
        UserError: unknown name (with the nearest one) or an option that it does not take.

    Source: timm.create_model.
    """
    if not timm.is_model(name):
        raise UserError(f"{field}: unknown model {name!r}{nearest(name, timm.list_models())}")
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes, **options)
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError, OSError) as error:
        raise UserError(f"{field}: {name} does not take these options: {one_line(error)}") from error
    return model
