"""The config.json that timm keeps beside weights: architecture, normalisation, crop."""

import json
from pathlib import Path
from typing import Any

HUB_WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # timm's names, the preferred one first
HUB_CONFIG = "config.json"
_INPUT = ("mean", "std", "interpolation", "crop_pct")


def read_hub_config(weights: Path) -> dict[str, Any]:
    """Read what the config.json beside a weight file says of it.

    Args:
        weights: .safetensors or .bin file.

    Returns:
        arch, and input, options and, if known, classes as JSON, like our own checkpoints; {} if there is no
        config.json of timm's.

    Source: timm/models/_hub.py.
    """
    try:
        content = json.loads((weights.parent / HUB_CONFIG).read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict) or not isinstance(content.get("architecture"), str):
        return {}
    known = content.get("pretrained_cfg")
    known = known if isinstance(known, dict) else content  # timm's older form has all fields at the top
    inputs = {name: known[name] for name in _INPUT if known.get(name)}
    for name, size in (("size", known.get("input_size")), ("test_size", known.get("test_input_size"))):
        if isinstance(size, list) and size and isinstance(size[-1], int):
            inputs[name] = size[-1]
    options = content.get("model_args")
    labels = content.get("label_names")
    return {
        "arch": content["architecture"],
        **({"classes": json.dumps(labels)} if isinstance(labels, list) else {}),
        "input": json.dumps(inputs),
        "options": json.dumps(options if isinstance(options, dict) else {}),
    }


def hub_config(
    arch: str,
    *,
    num_classes: int,
    inputs: dict[str, Any],
    options: dict[str, Any],
    classes: list[str],
    default: dict[str, Any],
) -> dict[str, Any]:
    """Build the config.json with which ``timm.create_model("local-dir:FOLDER")`` rebuilds a network.

    Args:
        arch: timm name of the network.
        num_classes: number of classes.
        inputs: mean, std and size of the input, and crop_pct, interpolation and, if it differs, test_size of the
            evaluation.
        options: further arguments of the network.
        classes: class names in label order.
        default: timm's own ``pretrained_cfg`` of the architecture, which names its first and last layers.

    Source: timm/models/_hub.py.
    """
    layers = {name: default[name] for name in ("first_conv", "classifier") if default.get(name)}
    return {
        "architecture": arch,
        "num_classes": num_classes,
        "label_names": classes,
        **({"model_args": options} if options else {}),
        "pretrained_cfg": {
            "num_classes": num_classes,
            "input_size": [3, inputs["size"], inputs["size"]],
            "crop_mode": "center",
            **(
                {"test_input_size": [3, inputs["test_size"], inputs["test_size"]]} if "test_size" in inputs else {}
            ),
            **{name: inputs[name] for name in _INPUT if name in inputs},
            **layers,
        },
    }
