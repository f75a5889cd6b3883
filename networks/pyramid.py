"""PyramidNet with ShakeDrop for 32 px images."""

from typing import Any

import torch.nn.functional as F
from timm.models import register_model
from torch import Tensor, nn

from networks.init import init_convolutions, list_stages, pick
from networks.shake import ShakeDrop

EXPANSION = 4


class Bottleneck(nn.Module):
    """Pre-activation bottleneck whose shortcut pads channels with zeros.

    Source: Han et al., CVPR 2017; dyhan0920/PyramidNet-PyTorch; Yamada et al., 2018 (the position of ShakeDrop).
    """

    def __init__(self, inputs: int, planes: int, stride: int, keep: float) -> None:
        super().__init__()
        outputs = EXPANSION * planes
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn4 = nn.BatchNorm2d(outputs)
        self.shake = ShakeDrop(keep)
        self.pool = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.padding = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """Map B x inputs x H x W to B x 4 planes x H/stride x W/stride."""
        out = self.conv1(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(out)))
        out = self.shake(self.bn4(self.conv3(F.relu(self.bn3(out)))))
        shortcut: Tensor = F.pad(self.pool(x), (0, 0, 0, 0, 0, self.padding))
        return out + shortcut


class PyramidNet(nn.Module):
    """Bottleneck PyramidNet: the width grows by the same amount with every block.

    Args:
        depth: 9 n + 2.
        alpha: total growth of the bottleneck width over all blocks.
        final_keep: ShakeDrop's keep probability in the last block; it falls linearly from 1.
        num_classes: K; 0 gives features.
        in_chans: image channels.

    Raises:
        ValueError: depth is not 9 n + 2.

    Source: Han et al., CVPR 2017; Yamada et al., 2018.
    """

    def __init__(
        self, depth: int, alpha: int, final_keep: float = 0.5, num_classes: int = 10, in_chans: int = 3
    ) -> None:
        super().__init__()
        if depth < 11 or (depth - 2) % 9:
            raise ValueError(f"depth must be 9 n + 2, got {depth}")
        per_stage = (depth - 2) // 9
        count = 3 * per_stage
        self.conv1 = nn.Conv2d(in_chans, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks, inputs = [], 16
        for index in range(count):
            planes = round(16 + alpha * (index + 1) / count)
            stride = 2 if index in (per_stage, 2 * per_stage) else 1
            keep = 1.0 - (index + 1) / count * (1.0 - final_keep)
            blocks.append(Bottleneck(inputs, planes, stride, keep))
            inputs = EXPANSION * planes
        starts = range(0, count, per_stage)
        self.layer1, self.layer2, self.layer3 = (nn.Sequential(*blocks[i : i + per_stage]) for i in starts)
        widths = [stage[-1].bn4.num_features for stage in (self.layer1, self.layer2, self.layer3)]
        self.feature_info = list_stages(("layer1", "layer2", "layer3"), widths)
        self.bn_final = nn.BatchNorm2d(inputs)
        self.num_classes, self.num_features = num_classes, inputs
        self.fc = nn.Linear(inputs, num_classes) if num_classes else nn.Identity()
        init_convolutions(self)

    def forward_features(self, images_BCHW: Tensor) -> Tensor:
        """Return the last feature map: B x num_features x H/4 x W/4."""
        x = self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(images_BCHW)))))
        return F.relu(self.bn_final(x))

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Classify images of any size >= 4 px: logits_BK."""
        logits: Tensor = self.fc(self.forward_features(images_BCHW).mean((2, 3)))
        return logits

    def early_activation(self) -> nn.Module:
        """Return BatchNorm and ReLU, which the first stage ends without, for an early head."""
        last = self.layer1[-1]
        assert isinstance(last, Bottleneck)
        return nn.Sequential(nn.BatchNorm2d(last.bn4.num_features), nn.ReLU())


@register_model
def pyramidnet_272_shakedrop(pretrained: bool = False, **kwargs: Any) -> PyramidNet:
    """Make PyramidNet-272 (alpha 200, bottleneck) with ShakeDrop: 26,210,842 parameters at 10 classes.

    Args:
        pretrained: not available.
        **kwargs: depth, alpha and final_keep for smaller variants; num_classes, in_chans.

    Source: Yamada et al., 2018; the network of AutoAugment's CIFAR experiments.
    """
    if pretrained:
        raise ValueError("pyramidnet_272_shakedrop has no pretrained weights: pass pretrained=False")
    names = ("depth", "alpha", "final_keep", "num_classes", "in_chans")
    return PyramidNet(**{"depth": 272, "alpha": 200, **pick(kwargs, names)})
