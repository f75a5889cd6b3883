"""Backbone, neck and classifier. Shape legend: B images, D features, K identities."""

from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from engine.checkpoint import load_weights
from engine.errors import UserError, one_line
from networks.create import check_name
from networks.weights import load
from reid.config import Config, Model

TIMM = "timm"  # value of model.weights for the weights that timm downloads


class ReidModel(nn.Module):
    """A ResNet whose pooled feature passes a BatchNorm neck to the classifier.

    Args:
        backbone: images -> pooled features_BD.
        features: D.
        num_classes: K identities of the training set.
        neck: insert the BatchNorm; False passes the pooled feature directly to the classifier.
        centres: learn a centre per identity for the centre loss.

    Source: Luo et al., CVPRW 2019 (BNNeck); michuanhaohao/reid-strong-baseline modeling/baseline.py.
    Differs from the paper: the released code of the strong baseline lacks the stem's ReLU; here it is present
        unless ``model.stem_relu`` is false.
    """

    def __init__(
        self, backbone: nn.Module, features: int, num_classes: int, *, neck: bool = True, centres: bool = False
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck: nn.Module = nn.BatchNorm1d(features) if neck else nn.Identity()
        if isinstance(self.neck, nn.BatchNorm1d):
            self.neck.bias.requires_grad_(False)
        self.classifier = nn.Linear(features, num_classes, bias=not neck)
        if neck:
            nn.init.normal_(self.classifier.weight, std=0.001)
        self.centres = nn.Parameter(torch.randn(num_classes, features)) if centres else None

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pooled features_BD for the metric losses, and the logits_BK."""
        features_BD = self.backbone(images_BCHW)
        return features_BD, self.classifier(self.neck(features_BD))

    def logits(self, images_BCHW: Tensor) -> Tensor:
        """Return the logits, from which the saliency is derived."""
        logits_BK: Tensor = self(images_BCHW)[1]
        return logits_BK

    def embed(self, images_BCHW: Tensor) -> Tensor:
        """Return the features compared at test time: those after the neck, scaled to length 1."""
        return nn.functional.normalize(self.neck(self.backbone(images_BCHW)))


def build_model(config: Config, num_classes: int) -> ReidModel:
    """Build the network of a config.

    Raises:
        UserError: the model is unknown or lacks the four ResNet stages, or the weights do not fit.

    Source: see :class:`ReidModel`.
    """
    backbone = create_backbone(config.model)
    if config.model.weights and config.model.weights != TIMM:
        _load_backbone(backbone, Path(config.model.weights))
    features: int = backbone.num_features
    return ReidModel(backbone, features, num_classes, neck=config.model.neck, centres=config.loss.centre > 0)


def create_backbone(model: Model) -> Any:
    """Build the timm network without a classifier and with the configured stride of its last stage.

    Raises:
        UserError: the model is unknown or not a ResNet.

    Source: timm; Sun et al., ECCV 2018 (last stride 1).
    """
    check_name(model.name, "model.name")
    backbone = _from_timm(model)
    if not hasattr(backbone, "layer4"):
        raise UserError(f"model.name: {model.name} is not a ResNet: it has no stage named layer4")
    if not model.stem_relu:
        backbone.act1 = nn.Identity()
    if model.last_stride == 1:
        for module in backbone.layer4[0].modules():
            if isinstance(module, nn.Conv2d):
                module.stride = (1, 1)
    return backbone


def _from_timm(model: Model) -> Any:
    pretrained = model.weights == TIMM
    try:
        return timm.create_model(model.name, pretrained=pretrained, num_classes=0)
    except (OSError, RuntimeError) as error:  # no internet connection, or no such weights
        if not pretrained:
            raise
        raise UserError(
            f"model.weights: timm's weights of {model.name} cannot be downloaded: {one_line(error)}"
        ) from error


def _load_backbone(backbone: nn.Module, path: Path) -> None:
    """Load a backbone from any checkpoint, ignoring a classifier in it."""
    with_classifier = {*backbone.state_dict().keys(), "fc.weight", "fc.bias"}
    state = load(path, any_options=True, like=with_classifier).state
    load_weights(backbone, {k: v for k, v in state.items() if not k.startswith("fc.")}, path)
