"""ResNet-18 and ResNet-110 for CIFAR: 3x3 stride-1 stem, no max-pooling.

Built from timm's ResNet, so that weight names, features and options are timm's.
"""

from typing import Any

import torch.nn.functional as F
from timm.models import register_model
from timm.models.resnet import BasicBlock, ResNet
from torch import Tensor, nn

from networks.init import init_convolutions, list_stages


class ZeroPad(nn.Module):
    """Option A shortcut: takes every second pixel and fills the missing channels with zeros.

    Args:
        channels: number of channels to add.

    Source: He et al., CVPR 2016, Sec. 4.2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        """Map B x C x H x W to B x (C + channels) x H/2 x W/2."""
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.channels))


@register_model
def cifar_resnet18(pretrained: bool = False, *, num_classes: int = 10, width: int = 64, **kwargs: Any) -> ResNet:
    """Make the ResNet-18 of the Cutout paper's code: 11,173,962 parameters at 10 classes.

    Args:
        pretrained: not offered.
        num_classes: K.
        width: channels of the first stage; 64 is the published network, less is for CPU experiments.
        **kwargs: options of timm's ResNet (drop_rate, drop_path_rate, ...).

    Returns:
        images B x 3 x H x W (any H, W >= 8) -> logits_BK.

    Raises:
        ValueError: pretrained weights are requested, or width is not positive.

    Source: He et al., CVPR 2016; uoguelph-mlrg/Cutout model/resnet.py.
    """
    if width < 1:
        raise ValueError(f"width must be positive, got {width}")
    widths = (width, 2 * width, 4 * width, 8 * width)
    return _make("cifar_resnet18", (2, 2, 2, 2), widths, num_classes, pretrained, kwargs)


@register_model
def cifar_resnet110(
    pretrained: bool = False, *, num_classes: int = 10, shortcut: str = "A", depth: int = 110, **kwargs: Any
) -> ResNet:
    """Make ResNet-110: 1,727,962 parameters at 10 classes (1,730,714 with shortcut B).

    Args:
        pretrained: not offered.
        num_classes: K.
        shortcut: A pads channels with zeros (the published network), B is a 1x1 convolution.
        depth: 6 n + 2; values below 110 are for experiments on a CPU.
        **kwargs: options of timm's ResNet.

    Returns:
        images B x 3 x H x W (any H, W >= 4) -> logits_BK.

    Raises:
        ValueError: the shortcut is unknown, depth is not 6 n + 2, or pretrained weights are requested.

    Source: He et al., CVPR 2016, Sec. 4.2.
    """
    if shortcut not in ("A", "B"):
        raise ValueError(f"shortcut must be A or B, got {shortcut!r}")
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"depth must be 6 n + 2, got {depth}")
    layers = ((depth - 2) // 6,) * 3
    model = _make("cifar_resnet110", layers, (16, 32, 64), num_classes, pretrained, kwargs)
    model.layer4 = nn.Identity()
    if shortcut == "A":
        for stage, channels in ((model.layer2, 16), (model.layer3, 32)):
            stage[0].downsample = ZeroPad(channels)
    return model


def _make(
    name: str,
    layers: tuple[int, ...],
    widths: tuple[int, ...],
    num_classes: int,
    pretrained: bool,
    options: dict[str, Any],
) -> ResNet:
    """Make timm's ResNet and replace its stem, which has 64 channels and a total stride of 4."""
    if pretrained:
        raise ValueError(f"{name} has no pretrained weights: pass pretrained=False")
    options = {
        k: v for k, v in options.items() if k not in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir")
    }
    zero_init = options.pop("zero_init_last", False)
    model = ResNet(
        BasicBlock, layers, num_classes=num_classes, channels=widths, zero_init_last=zero_init, **options
    )
    width = widths[0]
    if width != 64:
        model.bn1 = nn.BatchNorm2d(width)
        model.layer1[0] = _first_block(width)
    model.conv1 = nn.Conv2d(model.conv1.in_channels, width, 3, padding=1, bias=False)
    init_convolutions(model.conv1)
    model.maxpool = nn.Identity()
    model.feature_info = list_stages(("layer1", "layer2", "layer3", "layer4")[: len(layers)], widths)
    return model


def _first_block(width: int) -> BasicBlock:
    """Rebuild the first block, which timm makes for a stem of 64 channels."""
    block = BasicBlock(width, width)
    init_convolutions(block)
    return block
