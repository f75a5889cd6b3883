"""The network: timm's or ours, with an early head where saliency asks for one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

import networks  # noqa: F401  (registers the CIFAR networks with timm)
from engine import checkpoint
from engine.errors import UserError
from keepcore.early_head import with_early_head
from networks.create import create_network
from pretrain.baselines.dropblock import attach_dropblock
from pretrain.config import Config


def create(name: str, num_classes: int, options: dict[str, Any]) -> nn.Module:
    """Make a network by its timm name.

    Raises:
        UserError: unknown name (with the nearest one) or an option that it does not take.

    Source: timm.create_model.
    """
    return create_network(name, num_classes, options, "model.name")


def build_model(config: Config, num_classes: int, progress: Callable[[], float] = float) -> nn.Module:
    """Make the training module of a config.

    Args:
        config: of the run.
        num_classes: K.
        progress: share of the training done, for DropBlock.

    Returns:
        The network, inside :class:`keepcore.EarlyHead` when ``augment.head`` is ``"early"``.

    Raises:
        UserError: see :func:`create`; weights that do not fit.

    Source: Gong et al., CVPR 2021, Sec. 3.1 (early head).
    """
    model = create(config.model.name, num_classes, config.model.options)
    if config.model.weights:
        path = Path(config.model.weights)
        checkpoint.load_weights(model, pick_weights(checkpoint.load(path), "auto", path), path)
    if config.model.drop_block:
        if config.compile:
            raise UserError(
                "model.drop_block changes its rate every step, which compile would compile anew: drop one"
            )
        attach_dropblock(model, config.model.drop_block, config.model.drop_block_size, progress)
    if config.augment.op != "none" and config.augment.selective and config.augment.head == "early":
        return with_early_head(model, num_classes, config.model.early_after, config.data.image_size)
    return model


def pick_weights(content: dict[str, Any], use: str, path: Path) -> dict[str, Any]:
    """Choose the averaged or the raw weights of a checkpoint.

    Args:
        content: of the file.
        use: auto (averaged where there are any), ema or raw.
        path: for messages.

    Returns:
        A state dict.

    Raises:
        UserError: unknown ``use``, or weights that the file does not hold.

    Source: the keys of timm's checkpoints.
    """
    if use not in ("auto", "ema", "raw"):
        raise UserError(f"use must be auto, ema or raw, got {use!r}")
    key = "state_dict_ema" if use == "ema" or (use == "auto" and "state_dict_ema" in content) else "state_dict"
    if key not in content:
        raise UserError(f"{path} has no {key}; it holds: {', '.join(map(str, content))}")
    state: dict[str, Any] = content[key]
    return state
