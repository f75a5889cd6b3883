"""Wide residual networks for 32 px images."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import torch.nn.functional as F
from timm.layers import create_conv2d
from timm.models import register_model
from torch import Tensor, nn

from networks.init import init_convolutions, list_stages, pick

FirstBlock = Literal["activated", "raw_shortcut", "raw"]


class Variant(NamedTuple):
    """What published implementations of this network do differently.

    Attributes:
        first_blocks: what the first block of each stage, which changes the width, reads: ``activated`` feeds
            its input after BatchNorm and ReLU to both the convolutions and the shortcut, ``raw_shortcut`` to the
            convolutions alone, and ``raw`` to neither.
        init_head: draws the weights of the last layer.
        slope: slope of the leaky ReLU; 0 means ReLU.
        bn_momentum: BatchNorm momentum in torch's convention (weight of the new value).
        eps: epsilon of the blocks' BatchNorm.
        final_eps: epsilon of the last BatchNorm.
        stem_bias: give the first convolution a bias.
        block_bias: give the convolutions of the blocks a bias.
        padding: padding of the 3x3 convolutions; ``same`` is TensorFlow's, which pads an even size at the right
            and the bottom only if the stride is 2; "" pads every side by 1.
    """

    first_blocks: tuple[FirstBlock, FirstBlock, FirstBlock]
    init_head: Callable[[nn.Linear], None]
    slope: float = 0.0
    bn_momentum: float = 0.1
    eps: float = 1e-5
    final_eps: float = 1e-5
    stem_bias: bool = False
    block_bias: bool = False
    padding: Literal["", "same"] = ""


def _keep_head(head: nn.Linear) -> None:
    """Keep the weights that nn.Linear draws."""


def _uniform_head(head: nn.Linear) -> None:
    bound = head.out_features**-0.5
    nn.init.uniform_(head.weight, -bound, bound)


def _xavier_head(head: nn.Linear) -> None:
    nn.init.xavier_normal_(head.weight)


VARIANTS = {
    # Source: Zagoruyko and Komodakis, BMVC 2016.
    "paper": Variant(("activated",) * 3, _keep_head),
    # Source: google-research/uda image/randaugment/wrn.py, custom_ops.py.
    "uda": Variant(("raw_shortcut",) * 3, _uniform_head, padding="same"),
    # Source: google-research/fixmatch libml/models.py, class ResNet.
    "fixmatch": Variant(
        ("activated", "raw_shortcut", "raw_shortcut"), _xavier_head, 0.1, 0.001, 1e-3, 1e-3, True, True, "same"
    ),
    # Source: microsoft/Semi-supervised-learning semilearn/nets/wrn/wrn.py, which leaves BatchNorm and ReLU out
    # of both paths where stages 2 and 3 begin.
    "usb": Variant(("activated", "raw", "raw"), _xavier_head, 0.1, 0.001, 1e-5, 1e-3, True),
}


class Block(nn.Module):
    """Pre-activation residual block of two 3x3 convolutions with dropout between them.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        stride: stride of the block.
        first: what the paths read where the width changes; see :class:`Variant`.
        drop_rate: dropout rate.
        variant: implementation to follow.

    Source: Zagoruyko and Komodakis, BMVC 2016.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, first: FirstBlock, drop_rate: float, variant: Variant
    ) -> None:
        super().__init__()
        norm = partial(nn.BatchNorm2d, eps=variant.eps, momentum=variant.bn_momentum)
        conv = partial(create_conv2d, padding=variant.padding, bias=variant.block_bias)
        changes = inputs != outputs
        self.slope, self.raw_shortcut = variant.slope, changes and first != "activated"
        self.bn1 = None if changes and first == "raw" else norm(inputs)
        self.conv1 = conv(inputs, outputs, 3, stride=stride)
        self.bn2 = norm(outputs)
        self.drop = nn.Dropout(drop_rate)
        self.conv2 = conv(outputs, outputs, 3)
        self.shortcut = conv(inputs, outputs, 1, stride=stride) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map B x inputs x H x W to B x outputs x H/stride x W/stride."""
        active = x if self.bn1 is None else rectify(self.bn1(x), self.slope)
        out: Tensor = self.conv2(self.drop(rectify(self.bn2(self.conv1(active)), self.slope)))
        if self.shortcut is None:
            return out + x
        return out + self.shortcut(x if self.raw_shortcut else active)


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
        variant: implementation to follow: paper, uda, fixmatch or usb.
        bn_momentum: BatchNorm momentum in torch's convention (weight of the new value); None takes the variant's.
        slope: slope of the leaky ReLU, 0 meaning ReLU; None takes the variant's.

    Raises:
        ValueError: depth is not 6 n + 4, or the variant is unknown.

    Source: Zagoruyko and Komodakis, BMVC 2016; the variants' sources stand beside them.
    """

    def __init__(
        self,
        depth: int,
        widen: int,
        num_classes: int = 10,
        in_chans: int = 3,
        drop_rate: float = 0.0,
        variant: str = "paper",
        bn_momentum: float | None = None,
        slope: float | None = None,
    ) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"depth must be 6 n + 4, got {depth}")
        kind = _choose(variant, bn_momentum, slope)
        self.num_classes, self.slope = num_classes, kind.slope
        widths = [16, 16 * widen, 32 * widen, 64 * widen]
        self.num_features = widths[3]
        self.feature_info = list_stages(("block1", "block2", "block3"), widths[1:])
        self.early_features = widths[1]
        self.conv1 = nn.Conv2d(in_chans, 16, 3, padding=1, bias=kind.stem_bias)
        stages = []
        for index, first in enumerate(kind.first_blocks):
            blocks = [
                Block(
                    widths[index] if number == 0 else widths[index + 1],
                    widths[index + 1],
                    2 if index > 0 and number == 0 else 1,
                    first,
                    drop_rate,
                    kind,
                )
                for number in range((depth - 4) // 6)
            ]
            stages.append(nn.Sequential(*blocks))
        self.block1, self.block2, self.block3 = stages
        self.bn = nn.BatchNorm2d(widths[3], eps=kind.final_eps, momentum=kind.bn_momentum)
        self.fc = nn.Linear(widths[3], num_classes) if num_classes else nn.Identity()
        init_convolutions(self)
        if isinstance(self.fc, nn.Linear):
            kind.init_head(self.fc)
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


def _choose(name: str, bn_momentum: float | None, slope: float | None) -> Variant:
    """Return a variant, with momentum and slope replaced where they are given.

    Raises:
        ValueError: the name is unknown.
    """
    if name not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}, got {name!r}")
    given = {"bn_momentum": bn_momentum, "slope": slope}
    return VARIANTS[name]._replace(**{key: value for key, value in given.items() if value is not None})


def _make(depth: int, widen: int, pretrained: bool, options: dict[str, Any]) -> WideResNet:
    if pretrained:
        raise ValueError(f"wrn_{depth}_{widen} has no pretrained weights: pass pretrained=False")
    names = ("depth", "widen", "num_classes", "in_chans", "drop_rate", "variant", "bn_momentum", "slope")
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
