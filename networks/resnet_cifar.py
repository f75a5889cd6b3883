"""ResNet-18 for CIFAR: 3x3 stride-1 stem, no max-pooling.

Built from timm's ResNet, so that weights, features and options are timm's.
"""

from __future__ import annotations

from typing import Any

from timm.models import register_model
from timm.models.resnet import BasicBlock, ResNet
from torch import nn


@register_model
def cifar_resnet18(pretrained: bool = False, *, num_classes: int = 10, width: int = 64, **kwargs: Any) -> ResNet:
    """Make the ResNet-18 of the Cutout paper's code: 11,173,962 parameters at 10 classes.

    Args:
        pretrained: not offered.
        num_classes: K.
        width: channels of the first stage; 64 is the published network, less is for experiments on a CPU.
        **kwargs: of timm's ResNet (drop_rate, drop_path_rate, ...).

    Returns:
        images B x 3 x H x W (any H, W >= 8) -> logits_BK.

    Raises:
        ValueError: pretrained weights were asked for, or width is not positive.

    Source: He et al., CVPR 2016; uoguelph-mlrg/Cutout model/resnet.py.
    """
    if pretrained:
        raise ValueError("cifar_resnet18 has no pretrained weights: pass pretrained=False")
    if width < 1:
        raise ValueError(f"width must be positive, got {width}")
    for key in ("pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"):
        kwargs.pop(key, None)
    model = ResNet(
        BasicBlock,
        (2, 2, 2, 2),
        num_classes=num_classes,
        channels=(width, 2 * width, 4 * width, 8 * width),
        zero_init_last=kwargs.pop("zero_init_last", False),
        **kwargs,
    )
    if width != 64:
        model.bn1 = nn.BatchNorm2d(width)
        model.layer1[0] = _first_block(model, width)
    model.conv1 = nn.Conv2d(model.conv1.in_channels, width, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model


def _first_block(model: ResNet, width: int) -> BasicBlock:
    """Rebuild the first block, which timm makes for a stem of 64 channels."""
    block = BasicBlock(width, width)
    for module in block.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return block
