"""Opens any trained classifier: a run, a checkpoint from elsewhere, timm's hub form, or timm's own weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from timm.data import resolve_data_config
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2

from engine.checkpoint import load_weights
from engine.errors import UserError, one_line
from networks.create import check_name, create_network
from networks.metadata import CheckpointMetadata, read_inputs
from networks.weights import load, read_content


@dataclass(frozen=True)
class OpenNetwork:
    """A trained classifier and how images reach it.

    Attributes:
        model: images -> logits_BK, on the CPU, in evaluation mode.
        name: timm name of the network.
        mean: mean per channel of the input's normalisation, of values in [0, 1].
        std: standard deviation, likewise.
        size: side of its input in evaluation, pixels.
        crop_pct: fraction of the resized shorter side that the crop covers.
        interpolation: bilinear, bicubic, ...
        num_classes: number of classes, K.
        classes: class names in label order; () if they are not recorded.
    """

    model: nn.Module
    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    crop_pct: float
    interpolation: str
    num_classes: int
    classes: tuple[str, ...]

    def crop(self) -> Callable[[Any], Any]:
        """Return the evaluation's transform PIL image -> S x S image: resize the shorter side, crop the centre."""
        return centre_crop(self.size, self.crop_pct, self.interpolation)


def centre_crop(size: int, crop_pct: float, interpolation: str) -> Callable[[Any], Any]:
    """Build the transform image -> S x S image: resize the shorter side, then crop the centre.

    Args:
        size: S, pixels.
        crop_pct: fraction of the resized shorter side that the crop covers.
        interpolation: bilinear, bicubic, ...

    Source: timm and torchvision evaluation transforms.
    """
    return v2.Compose([v2.Resize(round(size / crop_pct), InterpolationMode(interpolation)), v2.CenterCrop(size)])


def open_network(source: str, *, arch: str = "", pretrained: bool = False, field: str = "network") -> OpenNetwork:
    """Open a trained classifier.

    Args:
        source: a run folder, a checkpoint, a folder in timm's hub form, or, with ``pretrained``, a timm name.
        arch: timm name of the network, for checkpoints that do not record it.
        pretrained: take timm's own weights from the hub.
        field: option that named the source, for messages.

    Raises:
        UserError: there is no such file or name, the file does not say which network it belongs to, or the weights
            cannot be had or do not fit.

    Source: timm (create_model, resolve_data_config).
    """
    return _from_hub(source, field) if pretrained else _from_file(Path(source), arch, field)


def _from_hub(name: str, field: str) -> OpenNetwork:
    check_name(name, field)
    try:
        model = timm.create_model(name, pretrained=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{field}: the weights of {name} cannot be had: {one_line(error)}") from error
    return _described(model.eval(), name, {}, {}, ())


def _from_file(path: Path, arch: str, field: str) -> OpenNetwork:
    if not path.exists():
        hint = "; to take a timm name's own weights, add --pretrained" if timm.is_model(path.name) else ""
        raise UserError(f"{field}: {path} not found{hint}")
    content, found = read_content(path)
    metadata = CheckpointMetadata(content, found)
    name = arch or metadata.arch()
    if not name:
        raise UserError(
            f"{field}: {found} does not record which network it belongs to: give its timm name with --arch"
        )
    options = metadata.json("options") | dict(metadata.argument("model_kwargs") or {})
    options.pop("num_classes", None)
    like = create_network(name, 10, options, field)
    loaded = load(found, any_options=True, like=like.state_dict().keys())
    count = _num_classes(like, loaded.state, found)
    model = create_network(name, count, options, field)
    load_weights(model, loaded.state, found)
    return _described(
        model.eval(), name, metadata.json("input"), metadata.arguments(), metadata.class_names(count)
    )


def _described(
    model: nn.Module,
    name: str,
    recorded: Mapping[str, Any],
    arguments: Mapping[str, Any],
    classes: tuple[str, ...],
) -> OpenNetwork:
    """Collect how images reach a network: from its file, from timm's training arguments, or from timm."""
    default = resolve_data_config(dict(arguments), model=model)
    seen = {**recorded, "size": recorded.get("test_size") or recorded.get("size")}
    return OpenNetwork(
        model=model,
        name=name,
        num_classes=int(getattr(model, "num_classes", 0)) or _outputs(model),
        classes=classes,
        **read_inputs(seen, default)._asdict(),
    )


def _num_classes(like: nn.Module, state: Mapping[str, Tensor], path: Path) -> int:
    """Read the number of classes off the weights of the last layer."""
    name = f"{classifier_name(like)}.weight"
    if name not in state:
        raise UserError(f"{path} has no classifier {name}: give a checkpoint that has its last layer")
    return len(state[name])


def classifier_name(model: nn.Module) -> str:
    """Return the name of the last layer: the one that timm records, otherwise the last linear one.

    Source: timm (pretrained_cfg).
    """
    names = (getattr(model, "pretrained_cfg", None) or {}).get("classifier")
    if names:
        return names if isinstance(names, str) else str(names[0])
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]


def _outputs(model: nn.Module) -> int:
    return int(model.get_submodule(classifier_name(model)).out_features)  # type: ignore[arg-type]
