"""Wide residual networks for 32 px images."""

from typing import Any

import torch.nn.functional as F
from timm.models import register_model
from torch import Tensor, nn

from networks.init import init_convolutions, pick


class Block(nn.Module):
    """Pre-activation residual block of two 3x3 convolutions with dropout between them.

    Source: Zagoruyko and Komodakis, BMVC 2016.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, drop_rate: float, momentum: float, slope: float
    ) -> None:
        super().__init__()
        self.slope = slope
        self.bn1 = nn.BatchNorm2d(inputs, momentum=momentum)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, momentum=momentum)
        self.drop = nn.Dropout(drop_rate)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """Map B x inputs x H x W to B x outputs x H/stride x W/stride."""
        active = rectify(self.bn1(x), self.slope)
        out: Tensor = self.conv2(self.drop(rectify(self.bn2(self.conv1(active)), self.slope)))
        return out + (x if self.shortcut is None else self.shortcut(active))


def rectify(x: Tensor, slope: float) -> Tensor:
    """Apply ReLU, leaky if the slope is not 0."""
    return F.leaky_relu(x, slope) if slope else F.relu(x)


class WideResNet(nn.Module):
    """WRN-depth-widen.

    Args:
        depth: 6 n + 4.
        widen: factor for the widths 16, 32, 64.
        num_classes: K; 0 gives features.
        in_chans: image channels.
        drop_rate: dropout rate between the two convolutions of each block.
        bn_momentum: BatchNorm momentum in torch's convention (weight of the new value).
        slope: slope of the leaky ReLU; 0 means ReLU.

    Raises:
        ValueError: depth is not 6 n + 4.

    Source: Zagoruyko and Komodakis, BMVC 2016.
    """

    def __init__(
        self,
        depth: int,
        widen: int,
        num_classes: int = 10,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        bn_momentum: float = 0.1,
        slope: float = 0.0,
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth must be 6 n + 4, got {depth}")
        self.num_classes, self.slope = num_classes, slope
        widths = [16, 16 * widen, 32 * widen, 64 * widen]
        self.num_features = widths[3]
        self.early_features = widths[1]
        self.conv1 = nn.Conv2d(in_chans, 16, 3, padding=1, bias=False)
        stages = []
        for index in range(3):
            blocks = [
                Block(
                    widths[index] if number == 0 else widths[index + 1],
                    widths[index + 1],
                    2 if index > 0 and number == 0 else 1,
                    drop_rate,
                    bn_momentum,
                    slope,
                )
                for number in range((depth - 4) // 6)
            ]
            stages.append(nn.Sequential(*blocks))
        self.block1, self.block2, self.block3 = stages
        self.bn = nn.BatchNorm2d(widths[3], momentum=bn_momentum)
        self.fc = nn.Linear(widths[3], num_classes) if num_classes else nn.Identity()
        init_convolutions(self)
        if isinstance(self.fc, nn.Linear):
            nn.init.zeros_(self.fc.bias)

    def early_activation(self) -> nn.Module:
        """Return BatchNorm and ReLU, which the first stage ends without, for an early head."""
        return nn.Sequential(nn.BatchNorm2d(self.early_features), nn.ReLU())

    def forward_features(self, images_BCHW: Tensor) -> Tensor:
        """Return the last feature map: B x num_features x H/4 x W/4."""
        return rectify(self.bn(self.block3(self.block2(self.block1(self.conv1(images_BCHW))))), self.slope)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Classify images of any size >= 4 px: logits_BK."""
        logits: Tensor = self.fc(self.forward_features(images_BCHW).mean((2, 3)))
        return logits


def _make(depth: int, widen: int, pretrained: bool, options: dict[str, Any]) -> WideResNet:
    if pretrained:
        raise ValueError(f"wrn_{depth}_{widen} has no pretrained weights: pass pretrained=False")
    names = ("depth", "widen", "num_classes", "in_chans", "drop_rate", "bn_momentum", "slope")
    return WideResNet(**{"depth": depth, "widen": widen, **pick(options, names)})


@register_model
def wrn_28_2(pretrained: bool = False, **kwargs: Any) -> WideResNet:
    """Make WRN-28-2: 1,467,610 parameters at 10 classes.

    Source: Zagoruyko and Komodakis, BMVC 2016; google-research/uda.
    """
    return _make(28, 2, pretrained, kwargs)


@register_model
def wrn_28_10(pretrained: bool = False, **kwargs: Any) -> WideResNet:
    """Make WRN-28-10: 36,479,194 parameters at 10 classes.

    Source: Zagoruyko and Komodakis, BMVC 2016.
    """
    return _make(28, 10, pretrained, kwargs)


@register_model
def wrn_10_1(pretrained: bool = False, **kwargs: Any) -> WideResNet:
    """Make WRN-10-1, for experiments on a CPU.

    Source: Zagoruyko and Komodakis, BMVC 2016 (their depth rule at n = 1).
    """
    return _make(10, 1, pretrained, kwargs)
