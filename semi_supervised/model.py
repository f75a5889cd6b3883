"""The classifier, from timm or this suite, with an early head if the saliency needs one."""

from torch import nn

from engine.errors import as_user_error
from engine.progress import print_remarks
from keepcore.early_head import with_early_head
from networks.start import freeze_modules, start_network
from semi_supervised.config import Config


def build_model(config: Config, num_classes: int) -> nn.Module:
    """Build the training module of a config.

    Raises:
        UserError: see :func:`networks.start.start_network` and :func:`networks.start.freeze_modules`.

    Source: Gong et al., CVPR 2021, Sec. 3.1 (early head).
    """
    model, remarks = start_network(
        config.model,
        num_classes,
        config.model_options,
        pretrained=config.pretrained,
        weights=config.weights,
        field="",
    )
    print_remarks(remarks)
    freeze_modules(model, config.freeze, "freeze")
    if config.augment.op != "none" and config.augment.head == "early":
        with as_user_error("early_after"):
            return with_early_head(model, num_classes, config.early_after, config.data.image_size)
    return model
