"""What checkpoints record in addition to their weights: architecture, options, normalisation, class names."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import UserError

# timm options that do not change the network at test time, or whose effect shows in its tensors.
HARMLESS_OPTIONS = {
    "drop_rate",
    "global_pool",
    "in_chans",
    "drop_path_rate",
    "drop_block_rate",
    "zero_init_last",
    "num_classes",
    "norm_layer",
    "pretrained",
}
_IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


class CheckpointMetadata(NamedTuple):
    """What a checkpoint records in addition to its weights."""

    content: dict[str, Any]
    path: Path

    def argument(self, name: str) -> Any:
        """Return one of timm's training arguments, saved as a Namespace or as a dict."""
        args = self.content.get("args")
        return args.get(name) if isinstance(args, Mapping) else getattr(args, name, None)

    def arguments(self) -> dict[str, Any]:
        """Return all of timm's training arguments that were set; {} for other files."""
        args = self.content.get("args")
        values = args if isinstance(args, Mapping) else vars(args) if args is not None else {}
        return {str(name): value for name, value in values.items() if value is not None}

    def class_names(self, count: int) -> tuple[str, ...]:
        """Return the class names in label order; () if the file has none, or another number of them."""
        names = self.content.get("classes")
        try:
            names = json.loads(names) if isinstance(names, str) else names
        except json.JSONDecodeError:
            return ()
        good = isinstance(names, list | tuple) and len(names) == count and all(isinstance(n, str) for n in names)
        return tuple(names) if good and names is not None else ()

    def json(self, name: str) -> dict[str, Any]:
        """Return a field that our files store as JSON."""
        text = self.content.get(name)
        if not isinstance(text, str) or not text:
            return {}
        try:
            value = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"{self.path}: its field {name!r} is not valid JSON: {error}") from error
        if not isinstance(value, dict):
            raise UserError(f"{self.path}: its field {name!r} is not a JSON object: {text[:40]}")
        return value

    def arch(self) -> str:
        """Return the architecture's name, without timm's pretrained tag."""
        name = self.content.get("arch") or self.content.get("architecture") or self.argument("model") or ""
        return str(name).split(".")[0] if isinstance(name, str) else ""

    def normalisation(self) -> dict[str, tuple[float, ...]]:
        """Return mean and std from our files, from timm's training arguments, or ImageNet's."""
        recorded, result = self.json("input"), {}
        for name, default in _IMAGENET.items():
            values = recorded.get(name) or self.argument(name) or default
            result[name] = check_normalisation(name, values, f"{self.path}: ")
        return result

    def refuse_options(self) -> None:
        """Reject networks that options have changed in ways that their tensors do not show."""
        theirs = self.argument("model_kwargs") or {}
        changed = sorted((self.json("options") | dict(theirs)).keys() - HARMLESS_OPTIONS)
        if changed:
            raise UserError(
                f"{self.path} was trained with the option {', '.join(changed)}, "
                "which changes the network in ways that Detectron2's ResNet cannot express"
            )


class Inputs(NamedTuple):
    """How images reach a network, as far as its weights record it.

    Attributes:
        mean: mean per channel, of values in [0, 1].
        std: standard deviation, likewise.
        size: side of the images, pixels.
        interpolation: bilinear, bicubic, ...
        crop_pct: fraction of the resized shorter side that the evaluation crop covers.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    interpolation: str
    crop_pct: float


def read_inputs(recorded: Mapping[str, Any], default: Mapping[str, Any], where: str = "") -> Inputs:
    """Take each value from what a file records, or from timm's data config.

    Args:
        recorded: the ``input`` of our files; {} if there is none.
        default: result of ``timm.data.resolve_data_config``.
        where: start of an error message.

    Raises:
        UserError: see :func:`check_normalisation`.

    Source: timm.data.resolve_data_config.
    """
    return Inputs(
        mean=check_normalisation("mean", recorded.get("mean") or default["mean"], where),
        std=check_normalisation("std", recorded.get("std") or default["std"], where),
        size=int(recorded.get("size") or default["input_size"][-1]),
        interpolation=str(recorded.get("interpolation") or default["interpolation"]),
        crop_pct=float(recorded.get("crop_pct") or default["crop_pct"]),
    )


def check_pair(mean: Sequence[float], std: Sequence[float]) -> None:
    """Check that the options data.mean and data.std are given together or not at all.

    Raises:
        UserError: only one of them is given.
    """
    if bool(mean) != bool(std):
        raise UserError("data.mean and data.std belong together: give both or neither")


def check_normalisation(name: str, values: Any, where: str = "") -> tuple[float, ...]:
    """Check a mean or standard deviation.

    Args:
        name: mean or std.
        values: three numbers in [0, 1]; std above 0.
        where: start of the message.

    Raises:
        UserError: there are not three numbers, or one is not finite or is on the scale of 0 to 255.
    """
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}{name} must be three numbers, got {values!r}") from error
    low = 0.0 if name == "mean" else 1e-6
    if len(numbers) != 3 or not all(low <= value <= 1.0 for value in numbers):  # False for NaN too
        hint = ": divide by 255" if len(numbers) == 3 and max(numbers) > 1 else ""
        raise UserError(f"{where}{name} must be three numbers in [0, 1], std above 0, got {numbers}{hint}")
    return numbers
