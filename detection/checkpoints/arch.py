"""The timm and torchvision ResNets that Detectron2 can express, and the shapes of their tensors there."""

from typing import NamedTuple

DEPTHS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
_GROUP_NORM = ("weight", "bias")


class Arch(NamedTuple):
    """A ResNet in Detectron2's terms.

    Attributes:
        depth: MODEL.RESNETS.DEPTH.
        groups: MODEL.RESNETS.NUM_GROUPS.
        width: MODEL.RESNETS.WIDTH_PER_GROUP.
        norm: BN (BatchNorm, which Detectron2 freezes as FrozenBN) or GN (GroupNorm).
    """

    depth: int
    groups: int = 1
    width: int = 64
    norm: str = "BN"

    @property
    def bottleneck(self) -> bool:
        """Whether blocks have three convolutions instead of two."""
        return self.depth >= 50


ARCHS: dict[str, Arch] = {
    "resnet18": Arch(18),
    "resnet34": Arch(34),
    "resnet50": Arch(50),
    "resnet101": Arch(101),
    "resnet152": Arch(152),
    "wide_resnet50_2": Arch(50, width=128),
    "wide_resnet101_2": Arch(101, width=128),
    "resnext50_32x4d": Arch(50, 32, 4),
    "resnext101_32x4d": Arch(101, 32, 4),
    "resnext101_32x8d": Arch(101, 32, 8),
    "resnext101_32x16d": Arch(101, 32, 16),
    "resnext101_32x32d": Arch(101, 32, 32),
    "resnext101_64x4d": Arch(101, 64, 4),
    "resnet50_gn": Arch(50, norm="GN"),
}


def expected_shapes(arch: Arch) -> dict[str, tuple[int, ...]]:
    """Return every tensor that Detectron2's ``build_resnet_backbone`` expects, without prefix.

    Args:
        arch: architecture of the network.

    Returns:
        Detectron2 name -> shape; 265 names for ResNet-50.

    Source: detectron2/modeling/backbone/resnet.py.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    tails = _GROUP_NORM if arch.norm == "GN" else _BATCH_NORM

    def conv(name: str, outputs: int, inputs: int, kernel: int) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs, kernel, kernel)
        shapes.update({f"{name}.norm.{tail}": (outputs,) for tail in tails})

    conv("stem.conv1", 64, 3, 7)
    inputs = 64
    for stage, blocks in enumerate(DEPTHS[arch.depth]):
        outputs = (256 if arch.bottleneck else 64) << stage
        middle = (arch.groups * arch.width) << stage
        for block in range(blocks):
            at = f"res{stage + 2}.{block}"
            if arch.bottleneck:
                conv(f"{at}.conv1", middle, inputs, 1)
                conv(f"{at}.conv2", middle, middle // arch.groups, 3)
                conv(f"{at}.conv3", outputs, middle, 1)
            else:
                conv(f"{at}.conv1", outputs, inputs, 3)
                conv(f"{at}.conv2", outputs, outputs, 3)
            if inputs != outputs:
                conv(f"{at}.shortcut", outputs, inputs, 1)
            inputs = outputs
    return shapes
