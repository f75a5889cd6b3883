"""Opens a trained backbone and its data from the checkpoint alone, for evaluation, pictures and export."""

import json
from dataclasses import replace
from typing import Any

import torch
from torch import nn

import networks.load_run
from imagesets.classification import ImageSet
from networks.create import create_network
from networks.load_run import Trained, check_classes
from pretrain.config import Config, Data
from pretrain.data import open_source
from pretrain.inputs import with_recorded_inputs

Backbone = Trained[Config, nn.Module]


def load_trained(checkpoint_or_run: str, use: str = "auto") -> Backbone:
    """Rebuild a network from its checkpoint.

    Args:
        checkpoint_or_run: .pth file written by pretrain.train, or a run folder (its last.pth).
        use: which weights to load: auto, ema or raw.

    Raises:
        UserError: the file was not written by pretrain.train, or it is damaged.
    """
    trained = networks.load_run.load_trained(
        checkpoint_or_run, "pretrain.train", Config, _build, use=use, options=str, classes=str, input=str
    )
    data = with_recorded_inputs(trained.config.data, json.loads(trained.content["input"]))
    return replace(trained, config=replace(trained.config, data=data))


def _build(content: dict[str, Any], config: Config) -> nn.Module:
    return create_network(content["arch"], content["num_classes"], json.loads(content["options"]), "model.name")


def open_data(trained: Backbone, root: str) -> tuple[Data, ImageSet]:
    """Open the data set that a network was trained on.

    Args:
        trained: the trained network.
        root: folder of the data; "" uses the one from training.

    Raises:
        UserError: the data was not found, or its classes differ from those in training.
    """
    data = replace(trained.config.data, root=root or trained.config.data.root)
    source = open_source(data)
    check_classes(trained, source.classes, data.root or data.dataset)
    return data, source


def load_attention(config: Config, device: torch.device) -> nn.Module | None:
    """Load the network that guides Attentive CutMix; return None if it is the one in training.

    Raises:
        UserError: the checkpoint was not written by pretrain.train.

    Source: Walawalkar et al., ICASSP 2020.
    """
    path = config.baseline.attention
    return load_trained(path).model.to(device) if path else None
