"""A trained network, rebuilt from its checkpoint alone."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import nn

from engine import checkpoint
from engine.errors import UserError
from engine.parser import from_yaml
from networks.weights import pick_weights

C = TypeVar("C")
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Trained(Generic[C, M]):
    """A network and its origin.

    Attributes:
        path: checkpoint file.
        content: content of the file.
        config: options of the training.
        model: network with the weights, on the CPU, in evaluation mode.
    """

    path: Path
    content: dict[str, Any]
    config: C
    model: M


def load_trained(
    checkpoint_or_run: str | Path,
    program: str,
    config_type: type[C],
    build: Callable[[dict[str, Any], C], M],
    *,
    use: str = "auto",
    **fields: type,
) -> Trained[C, M]:
    """Rebuild a network from its checkpoint.

    Args:
        checkpoint_or_run: a .pth file, or a run folder, which stands for its last.pth.
        program: module that must have written it, e.g. ``"pretrain.train"``.
        config_type: dataclass of the training's options.
        build: (content of the file, config) -> network.
        use: auto (averaged weights if there are any), ema or raw.
        **fields: further fields of the file that the program writes, with their types.

    Raises:
        UserError: the program did not write the file, or it is damaged.
    """
    path = checkpoint.newest(checkpoint_or_run)
    content = checkpoint.load(path)
    checkpoint.expect(content, path, program, config=str, arch=str, num_classes=int, **fields)
    try:
        config = from_yaml(config_type, content["config"])
    except UserError as error:
        raise UserError(f"{path} was not written by {program}, or by another version of it: {error}") from error
    model = build(content, config)
    checkpoint.load_weights(model, pick_weights(content, use, path)[0], path)
    return Trained(path, content, config, model.eval())


def check_classes(trained: Trained[C, M], classes: Sequence[str], place: str) -> None:
    """Check that a data set has the classes that a classifier was trained on.

    Args:
        trained: network whose checkpoint records its classes.
        classes: class names of the data set, in label order.
        place: folder or name of the data set, for the message.

    Raises:
        UserError: the names or their order differ.
    """
    if json.dumps(classes) != trained.content["classes"]:
        raise UserError(f"{trained.path} has different classes from {place}: check --root")
