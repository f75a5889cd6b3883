"""DropBlock on the last two stages, with a keep probability that falls during training."""

from collections.abc import Callable

from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor, nn
from torchvision.ops import drop_block2d


def attach_dropblock(model: nn.Module, rate: float, block_size: int, progress: Callable[[], float]) -> None:
    """Apply DropBlock to the last two stages of a timm ResNet in training mode.

    It follows every BatchNorm and is applied to the shortcuts too. The names of the weights do not change, and
    evaluation, saliency and export use the plain network.

    Args:
        model: a timm ResNet with bottleneck blocks.
        rate: fraction of the last stage's features dropped at the end of training, in [0, 1); the stage before
            drops a quarter of it, and it rises linearly from 0.
        block_size: side of a dropped block, in feature pixels; made odd, and reduced for smaller feature maps.
        progress: returns the fraction of training done, in [0, 1].

    Raises:
        ValueError: the network is not a bottleneck ResNet, or the rate is outside [0, 1).

    Source: Ghiasi et al., NeurIPS 2018; tensorflow/tpu resnet_model.py (placement); torchvision (kernel).
    """
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"model.drop_block must be in [0, 1), got {rate}")
    if not isinstance(model, ResNet) or not isinstance(model.layer4[-1], Bottleneck):
        raise ValueError(
            f"model.drop_block needs a timm ResNet with bottleneck blocks, not {type(model).__name__}"
        )

    def dropping(share: float) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def drop(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            if not module.training:
                return output
            side = min(block_size, *output.shape[-2:])
            dropped: Tensor = drop_block2d(output, rate * share * progress(), side - (side + 1) % 2)
            return dropped

        return drop

    for stage, share in ((model.layer3, 0.25), (model.layer4, 1.0)):  # group g drops 1 / 4^(4 - g) of the rate
        for block in stage:
            if block.downsample is None:
                block.downsample = nn.Identity()
            for module in (block.bn1, block.bn2, block.bn3, block.downsample):
                module.register_forward_hook(dropping(share))
