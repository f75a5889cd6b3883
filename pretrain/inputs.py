"""Image size, normalisation and resizing of a run: as given, as the weights were trained with, or the defaults."""

from dataclasses import replace
from typing import Any

from networks.metadata import Inputs, check_normalisation, check_pair
from networks.start import inputs_of_weights
from pretrain.config import Config, Data

DEFAULT = Inputs(mean=(), std=(), size=64, interpolation="bilinear", crop_pct=1.0)
KNOWN = ("bilinear", "bicubic", "nearest")


def with_inputs(config: Config) -> Config:
    """Fill in what the options leave open.

    Raises:
        UserError: the weights cannot be read, or mean and std are not three numbers each.
    """
    data, model = config.data, config.model
    found = DEFAULT
    if model.pretrained or model.weights:
        found = inputs_of_weights(model.name, pretrained=model.pretrained, weights=model.weights)
    check_pair(data.mean, data.std)
    for name in ("mean", "std"):
        if getattr(data, name):
            check_normalisation(f"data.{name}", getattr(data, name))
    return replace(config, data=_filled(data, found))


def with_recorded_inputs(data: Data, inputs: dict[str, Any]) -> Data:
    """Fill in what a run's options left open, from what its checkpoint records.

    Args:
        data: data options of the run.
        inputs: mean, std, size, crop_pct and interpolation; see :func:`pretrain.trainer.input_of`.
    """
    return _filled(
        data,
        Inputs(
            mean=tuple(inputs["mean"]),
            std=tuple(inputs["std"]),
            size=inputs["size"],
            interpolation=inputs.get("interpolation", DEFAULT.interpolation),
            crop_pct=inputs.get("crop_pct", DEFAULT.crop_pct),
        ),
    )


def _filled(data: Data, found: Inputs) -> Data:
    interpolation = found.interpolation if found.interpolation in KNOWN else DEFAULT.interpolation
    return replace(
        data,
        image_size=data.image_size or found.size,
        crop_pct=data.crop_pct or found.crop_pct,
        interpolation=data.interpolation or interpolation,
        mean=data.mean or found.mean,
        std=data.std or found.std,
    )
