"""A trained classifier, rebuilt from its checkpoint alone: for evaluation and pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from engine import checkpoint
from engine.command import from_yaml
from semi_supervised.config import Config
from semi_supervised.model import create


@dataclass(frozen=True)
class Trained:
    """A network rebuilt from its checkpoint.

    Attributes:
        path: the file.
        content: of the file.
        config: of the training.
        model: with the averaged weights where there are any, on the CPU, in evaluation mode.
    """

    path: Path
    content: dict[str, Any]
    config: Config
    model: nn.Module


def load_trained(checkpoint_or_run: str) -> Trained:
    """Rebuild a network from its checkpoint.

    Args:
        checkpoint_or_run: a .pth of semi_supervised.train, or its run folder (then last.pth).

    Raises:
        UserError: no checkpoint of semi_supervised.train.
    """
    path = checkpoint.newest(checkpoint_or_run)
    content = checkpoint.load(path)
    checkpoint.expect(content, path, "semi_supervised.train", split=str, arch=str, num_classes=int, options=str)
    checkpoint.expect(content, path, "semi_supervised.train", config=str, epoch=int, state_dict=dict, classes=str)
    model = create(content["arch"], content["num_classes"], json.loads(content["options"]))
    checkpoint.load_weights(model, content.get("state_dict_ema", content["state_dict"]), path)
    return Trained(path, content, from_yaml(Config, content["config"]), model.eval())
