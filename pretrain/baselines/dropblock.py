"""DropBlock on the last two stages, with the keep probability falling over the training."""

from collections.abc import Callable

from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn
from torchvision.ops import drop_block2d


def attach_dropblock(model: nn.Module, rate: float, block_size: int, progress: Callable[[], float]) -> None:
    """Let DropBlock act on the last two stages of a timm ResNet in training mode.

    It follows every BatchNorm and acts on the shortcuts too. The weights' names do not change, and evaluation,
    saliency and export see the plain network.

    Args:
        model: a timm ResNet with bottleneck blocks.
        rate: share of the features dropped at the end of the training; it rises linearly from 0.
        block_size: side of a dropped block, feature pixels; odd, and smaller where the features are.
        progress: share of the training done.

    Raises:
        ValueError: another kind of network, or a rate outside [0, 1).

    Source: Ghiasi et al., NeurIPS 2018; tensorflow/tpu resnet_model.py (where it stands); kernel of torchvision.
    """
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"model.drop_block must be in [0, 1), got {rate}")
    if not isinstance(model, ResNet) or not isinstance(model.layer4[-1], Bottleneck):
        raise ValueError(
            f"model.drop_block needs a timm ResNet with bottleneck blocks, not {type(model).__name__}"
        )

    def drop(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if not module.training:
            return output
        side = min(block_size, *output.shape[-2:])
        dropped: Tensor = drop_block2d(output, rate * progress(), side - (side + 1) % 2)
        return dropped

    for stage in (model.layer3, model.layer4):
        for block in stage:
            if block.downsample is None:
                block.downsample = nn.Identity()
            for module in (block.bn1, block.bn2, block.bn3, block.downsample):
                module.register_forward_hook(drop)
