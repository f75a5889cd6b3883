"""What checkpoints record in addition to their weights: architecture, options, normalisation, class names."""

import json
from collections.abc import Mapping
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
