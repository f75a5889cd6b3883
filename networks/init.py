"""How our networks begin."""

from collections.abc import Mapping
from typing import Any

from torch import nn


def init_convolutions(model: nn.Module) -> None:
    """Draw every convolution's weights from He's normal distribution, by the number of outputs.

    Source: He et al., ICCV 2015.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def pick(options: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Take the options that a network has; timm's own, which it gives to every network, are left out.

    Raises:
        TypeError: one that it has not.
    """
    foreign = sorted(set(options) - set(names) - {"pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"})
    if foreign:
        raise TypeError(f"unknown option {foreign[0]!r}; there are {', '.join(names)}")
    return {key: options[key] for key in names if key in options}
