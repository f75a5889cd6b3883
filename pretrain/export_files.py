"""File formats that a backbone can be exported to."""

import json
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save as save_safetensors

from engine import checkpoint
from engine.errors import UserError
from engine.files import check_targets, replacing, write_json
from engine.onnx import checked_onnx
from networks.hub_config import HUB_CONFIG, HUB_WEIGHTS, hub_config
from pretrain.export import ExportOptions
from pretrain.load_run import Backbone, load_trained

LARGEST_DIFFERENCE = 1e-3  # between ONNX Runtime and torch, relative to the largest logit


def export(options: ExportOptions) -> Path:
    """Write the file and print its path.

    Returns:
        The path of the file.

    Raises:
        UserError: unknown suffix, not a checkpoint of pretrain.train, ONNX not installed, or its outputs differ.
    """
    out = Path(options.out)
    if out.suffix not in WRITERS:
        raise UserError(f"out: {out.name} must end in one of {', '.join(filter(None, WRITERS))}, or name a folder")
    files = [options.out] if out.suffix else [str(out / name) for name in (HUB_WEIGHTS[0], HUB_CONFIG)]
    check_targets(*files, inputs=(options.checkpoint,))
    WRITERS[out.suffix](load_trained(options.checkpoint, options.use), out)
    print(out)
    return out


def describe(trained: Backbone) -> dict[str, str]:
    """Collect the origin of the weights as plain strings.

    Args:
        trained: network and content of its checkpoint.

    Returns:
        arch, num_classes, options, input (mean, std, size), classes, augment, epoch, metrics, recipe, provenance,
        dataset, format.
    """
    names = ("arch", "num_classes", "options", "input", "classes", "augment", "epoch", "metrics", "provenance")
    strings = {name: str(trained.content.get(name, "")) for name in names}
    recipe, dataset = str(trained.content["config"]), trained.config.data.dataset
    return {**strings, "recipe": recipe, "dataset": dataset, "format": "pt"}


def _safetensors(trained: Backbone, out: Path) -> None:
    state = {name: value.contiguous() for name, value in trained.model.state_dict().items()}
    with replacing(out) as file:
        file.write(save_safetensors(state, metadata=describe(trained)))


def _pth(trained: Backbone, out: Path) -> None:
    checkpoint.save({**describe(trained), "state_dict": trained.model.state_dict()}, out)


def _onnx(trained: Backbone, out: Path) -> None:
    side = json.loads(trained.content["input"])["size"]
    checked_onnx(
        trained.model,
        (3, side, side),
        out,
        output="logits",
        about=describe(trained),
        largest_difference=LARGEST_DIFFERENCE,
    )


def _folder(trained: Backbone, out: Path) -> None:
    """Write timm's hub form: ``timm.create_model("local-dir:FOLDER")`` loads it."""
    out.mkdir(parents=True, exist_ok=True)
    content = trained.content
    config = hub_config(
        content["arch"],
        num_classes=content["num_classes"],
        inputs=json.loads(content["input"]),
        options=json.loads(content["options"]),
        classes=json.loads(content["classes"]),
        default=getattr(trained.model, "pretrained_cfg", None) or {},
    )
    _safetensors(trained, out / HUB_WEIGHTS[0])
    write_json(config, out / HUB_CONFIG)


WRITERS: dict[str, Callable[[Backbone, Path], None]] = {
    ".safetensors": _safetensors,
    ".pth": _pth,
    ".onnx": _onnx,
    "": _folder,
}
