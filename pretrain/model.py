"""The network, from timm or this suite, with an early head if the saliency needs one."""

from collections.abc import Callable

from torch import nn

from engine.errors import UserError, as_user_error
from engine.progress import print_remarks
from keepcore.early_head import with_early_head
from networks.start import freeze_modules, start_network
from pretrain.baselines.dropblock import attach_dropblock
from pretrain.config import Config


def build_model(config: Config, num_classes: int, progress: Callable[[], float] = float) -> nn.Module:
    """Build the training module of a config.

    Args:
        config: config of the run.
        num_classes: number of classes, K.
        progress: returns the fraction of training done, for DropBlock.

    Returns:
        The network, wrapped in :class:`keepcore.EarlyHead` if ``augment.head`` is ``"early"``.

    Raises:
        UserError: see :func:`networks.start.start_network` and :func:`networks.start.freeze_modules`.

    Source: Gong et al., CVPR 2021, Sec. 3.1 (early head).
    """
    spec = config.model
    model, remarks = start_network(
        spec.name, num_classes, spec.options, pretrained=spec.pretrained, weights=spec.weights
    )
    print_remarks(remarks)
    freeze_modules(model, spec.freeze)
    if config.model.drop_block:
        if config.compile:
            raise UserError(
                "model.drop_block changes at every step, so --compile would recompile each time: use only one"
            )
        with as_user_error():
            attach_dropblock(model, config.model.drop_block, config.model.drop_block_size, progress)
    if config.augment.op != "none" and config.augment.selective and config.augment.head == "early":
        with as_user_error("model.early_after"):
            return with_early_head(model, num_classes, config.model.early_after, config.data.image_size)
    return model
