"""Initial weights and options of our networks."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn


def init_convolutions(model: nn.Module) -> None:
    """Draw every convolution's weights from He's normal distribution, scaled by the number of outputs.

    Source: He et al., ICCV 2015.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def list_stages(names: Sequence[str], channels: Sequence[int], stride: int = 1) -> list[dict[str, Any]]:
    """Describe the stages of a network as timm's ``feature_info`` does.

    Args:
        names: names of the stages, each of twice the stride of the one before.
        channels: number of channels of each.
        stride: stride of the first.

    Source: timm (feature_info).
    """
    pairs = zip(names, channels, strict=True)
    return [
        {"module": name, "num_chs": count, "reduction": stride << number}
        for number, (name, count) in enumerate(pairs)
    ]


def pick(options: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Select the options of a network, without those that timm passes to every network.

    Raises:
        TypeError: an option is unknown.
    """
    foreign = sorted(set(options) - set(names) - {"pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"})
    if foreign:
        raise TypeError(f"unknown option {foreign[0]!r}; choose from {', '.join(names)}")
    return {key: options[key] for key in names if key in options}
