"""Rebuilds a trained classifier from its checkpoint alone."""

import json
from typing import Any

from torch import nn

import networks.load_run
from networks.create import create_network
from networks.load_run import Trained
from semi_supervised.config import Config


def load_trained(checkpoint_or_run: str) -> Trained[Config, nn.Module]:
    """Rebuild a network from its checkpoint, with the averaged weights if there are any.

    Args:
        checkpoint_or_run: .pth file written by semi_supervised.train, or a run folder (its last.pth).

    Raises:
        UserError: the file was not written by semi_supervised.train, or it is damaged.
    """
    return networks.load_run.load_trained(
        checkpoint_or_run,
        "semi_supervised.train",
        Config,
        _build,
        split=str,
        options=str,
        epoch=int,
        state_dict=dict,
        classes=str,
    )


def _build(content: dict[str, Any], config: Config) -> nn.Module:
    return create_network(content["arch"], content["num_classes"], json.loads(content["options"]))
