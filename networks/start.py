"""Weights to start training from: timm's own, or any checkpoint; a last layer for other classes starts anew."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
from timm.data import resolve_data_config
from torch import nn

from engine.checkpoint import load_weights
from engine.errors import UserError, nearest, one_line
from networks.create import check_name, create_network
from networks.metadata import CheckpointMetadata, Inputs, read_inputs
from networks.open import classifier_name
from networks.weights import load, read_content


def inputs_of_weights(name: str, *, pretrained: bool, weights: str, field: str = "model.") -> Inputs:
    """Return how images reached the network whose weights training starts from; downloads nothing.

    Args:
        name: timm name of the network.
        pretrained: whether the weights are timm's own.
        weights: checkpoint in any form; "" if they are timm's.
        field: prefix of the options, for messages.

    Raises:
        UserError: the name is unknown, both kinds of weights are given, or the file is missing or damaged.

    Source: timm.data.resolve_data_config.
    """
    check_name(name, _name_option(field))
    if pretrained and weights:
        raise UserError(f"{field}pretrained and {field}weights are two sources of weights: give one")
    recorded: dict[str, Any] = {}
    arguments: dict[str, Any] = {"model": name}
    if weights:
        content, path = read_content(Path(weights).expanduser())
        metadata = CheckpointMetadata(content, path)
        recorded, arguments = metadata.json("input"), arguments | metadata.arguments()
    config = timm.get_pretrained_cfg(name)
    default = resolve_data_config(arguments, pretrained_cfg={} if config is None else config.to_dict())
    return read_inputs(recorded, default, f"{weights}: ")


def start_network(
    name: str,
    num_classes: int,
    options: Mapping[str, Any],
    *,
    pretrained: bool,
    weights: str,
    field: str = "model.",
) -> tuple[nn.Module, tuple[str, ...]]:
    """Make a network with weights to start from.

    Args:
        name: timm name of the network.
        num_classes: K; a last layer for another number of classes starts anew.
        options: further arguments of the network.
        pretrained: take timm's own weights from the hub.
        weights: checkpoint in any form; "" for none.
        field: prefix of the options, for messages.

    Returns:
        The network, and remarks about what was replaced.

    Raises:
        UserError: the weights cannot be had, or do not fit apart from the last layer.

    Source: timm.create_model.
    """
    if pretrained:
        check_name(name, _name_option(field))
        try:
            return timm.create_model(name, pretrained=True, num_classes=num_classes, **options), ()
        except (TypeError, OSError, RuntimeError, ValueError) as error:
            raise UserError(
                f"{field}pretrained: timm's weights of {name} cannot be had: {one_line(error)}; "
                f"with a file of weights, give --{field}weights"
            ) from error
    model = create_network(name, num_classes, options, _name_option(field))
    return model, _fill(model, Path(weights).expanduser()) if weights else ()


def _name_option(field: str) -> str:
    return f"{field}name" if field else "model"


def freeze_modules(model: nn.Module, names: Sequence[str], field: str = "model.freeze") -> None:
    """Take modules out of the training: their weights get no gradient, and their BatchNorm keeps its statistics.

    Args:
        model: the network.
        names: names of modules, e.g. ``layer1``.
        field: option that named them, for the message.

    Raises:
        UserError: there is no such module.

    Source: timm.utils.freeze, which replaces BatchNorm by another module; here it stays, in evaluation mode.
    """
    modules = dict(model.named_modules())
    for name in names:
        if not name or name not in modules:
            tops = [child for child, _ in model.named_children()]
            raise UserError(
                f"{field}: the network has no module {name!r}{nearest(name, tops)}; it has {', '.join(tops)}"
            )
        modules[name].requires_grad_(False)
        for module in modules[name].modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.register_forward_pre_hook(_stays_in_evaluation)
                module.eval()


def _stays_in_evaluation(module: nn.Module, inputs: Any) -> None:
    module.training = False


def _fill(model: nn.Module, path: Path) -> tuple[str, ...]:
    """Load weights, but keep the model's own last layer if the one in the file is absent or has other classes."""
    own = model.state_dict()
    loaded = load(path, any_options=True, like=own.keys())
    head = f"{classifier_name(model)}."
    state, mine = loaded.state, {name: value for name, value in own.items() if name.startswith(head)}
    if all(name in state and state[name].shape == value.shape for name, value in mine.items()):
        load_weights(model, state, path)
        return ()
    theirs = len(state[f"{head}weight"]) if f"{head}weight" in state else 0
    kept = {name: value for name, value in state.items() if not name.startswith(head)}
    load_weights(model, kept | mine, path)
    found = f"has {theirs} classes" if theirs else "has no last layer"
    return (f"{path} {found}: the last layer, {head[:-1]}, starts from random weights",)
