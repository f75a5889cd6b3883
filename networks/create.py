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
        name: name of a network in timm or registered with it.
        num_classes: K.
        options: further arguments of the network.
        field: field of the config, for messages.

    Raises:
        UserError: the name is unknown (the message suggests the nearest), or the network rejects an option.

    Source: timm.create_model.
    """
    check_name(name, field)
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes, **options)
    except (TypeError, ValueError, RuntimeError, AttributeError, LookupError, OSError) as error:
        raise UserError(f"{field}: {name} does not accept these options: {one_line(error)}") from error
    return model


def check_name(name: str, field: str) -> None:
    """Check that timm knows a network of this name.

    Args:
        name: name of the network.
        field: field of the config, for the message.

    Raises:
        UserError: the name is unknown; the message suggests the nearest.
    """
    if not timm.is_model(name):
        raise UserError(f"{field}: unknown model {name!r}{nearest(name, timm.list_models())}")
