"""How our networks begin."""

from __future__ import annotations

from torch import nn


def init_convolutions(model: nn.Module) -> None:
    """Draw every convolution's weights from He's normal distribution, by the number of outputs.

    Source: He et al., ICCV 2015.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
