"""Shake-Shake residual networks for 32 px images."""

from typing import Any

import torch
import torch.nn.functional as F
from timm.models import register_model
from torch import Tensor, nn

from networks.init import init_convolutions, list_stages, pick
from networks.shake import ShakeShake


class Branch(nn.Sequential):
    """ReLU, 3x3 convolution, BatchNorm, twice.

    Source: xgastaldi/shake-shake models/shakeshakeblock.lua.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(
            nn.ReLU(),
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )


class Shortcut(nn.Module):
    """Two concatenated subsampling paths, the second one shifted by a pixel.

    Source: xgastaldi/shake-shake models/shakeshakeblock.lua.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(inputs, outputs // 2, 1, bias=False)
        self.conv2 = nn.Conv2d(inputs, outputs - outputs // 2, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map B x inputs x H x W to B x outputs x H/stride x W/stride."""
        active = F.relu(x)
        shifted = F.pad(active[:, :, 1:, 1:], (0, 1, 0, 1))
        paths = [
            conv(path[:, :, :: self.stride, :: self.stride])
            for conv, path in ((self.conv1, active), (self.conv2, shifted))
        ]
        out: Tensor = self.bn(torch.cat(paths, 1))
        return out


class Block(nn.Module):
    """Two branches mixed at random, plus the shortcut.

    Source: Gastaldi, 2017.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch1, self.branch2 = (Branch(inputs, outputs, stride) for _ in range(2))
        self.shake = ShakeShake()
        self.shortcut = nn.Identity() if inputs == outputs else Shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map B x inputs x H x W to B x outputs x H/stride x W/stride."""
        out: Tensor = self.shortcut(x) + self.shake(self.branch1(x), self.branch2(x))
        return out


class ShakeShakeNet(nn.Module):
    """Shake-Shake-Image ResNet.

    Args:
        depth: 6 n + 2.
        width: channels of the first stage.
        num_classes: K; 0 gives features.
        in_chans: image channels.

    Raises:
        ValueError: depth is not 6 n + 2.

    Source: Gastaldi, 2017; xgastaldi/shake-shake.
    """

    def __init__(self, depth: int, width: int, num_classes: int = 10, in_chans: int = 3) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise ValueError(f"depth must be 6 n + 2, got {depth}")
        self.num_classes, self.num_features = num_classes, 4 * width
        self.conv1 = nn.Conv2d(in_chans, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        widths = [16, width, 2 * width, 4 * width]
        stages = []
        for stage in range(3):
            blocks = [Block(widths[stage], widths[stage + 1], 2 if stage else 1)]
            blocks += [Block(widths[stage + 1], widths[stage + 1], 1) for _ in range((depth - 2) // 6 - 1)]
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3 = stages
        self.feature_info = list_stages(("layer1", "layer2", "layer3"), widths[1:])
        self.fc = nn.Linear(self.num_features, num_classes) if num_classes else nn.Identity()
        init_convolutions(self)
        if isinstance(self.fc, nn.Linear):
            nn.init.zeros_(self.fc.bias)

    def early_activation(self) -> nn.Module:
        """Return the ReLU, which the first stage ends without, for an early head."""
        return nn.ReLU()

    def forward_features(self, images_BCHW: Tensor) -> Tensor:
        """Return the last feature map: B x num_features x H/4 x W/4."""
        return F.relu(self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(images_BCHW))))))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Classify images of any size >= 4 px: logits_BK."""
        logits: Tensor = self.fc(self.forward_features(images_BCHW).mean((2, 3)))
        return logits


def _make(depth: int, width: int, pretrained: bool, options: dict[str, Any]) -> ShakeShakeNet:
    if pretrained:
        raise ValueError("Shake-Shake has no pretrained weights: pass pretrained=False")
    arguments = pick(options, ("width", "num_classes", "in_chans"))
    return ShakeShakeNet(depth, arguments.pop("width", width), **arguments)


@register_model
def shake_shake_26_2x96d(pretrained: bool = False, **kwargs: Any) -> ShakeShakeNet:
    """Make Shake-Shake 26 2x96d: 26,192,922 parameters at 10 classes.

    Source: Gastaldi, 2017; the width of AutoAugment's CIFAR experiments.
    """
    return _make(26, 96, pretrained, kwargs)


@register_model
def shake_shake_26_2x32d(pretrained: bool = False, **kwargs: Any) -> ShakeShakeNet:
    """Make Shake-Shake 26 2x32d: 2,923,162 parameters at 10 classes.

    Source: Gastaldi, 2017.
    """
    return _make(26, 32, pretrained, kwargs)
