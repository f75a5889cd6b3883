"""The rows of Table 11, and detectors with timm backbones, for Detectron2's LazyConfig system."""

from typing import Any, NamedTuple

from detectron2 import model_zoo
from detectron2.config import LazyCall
from omegaconf import DictConfig

from detection.detectors.timm_backbone import TimmBackbone
from detection.table11.rows import SCHEDULE

PIXEL_MEAN, PIXEL_STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
_MODELS = {"c4": "mask_rcnn_c4", "fpn": "mask_rcnn_fpn", "retinanet": "retinanet"}


class Parts(NamedTuple):
    """The variables that lazyconfig_train_net.py expects in a config file.

    Attributes:
        model, dataloader, optimizer, lr_multiplier, train: as in detectron2/configs/common.
    """

    model: DictConfig
    dataloader: DictConfig
    optimizer: DictConfig
    lr_multiplier: DictConfig
    train: DictConfig


def table11(kind: str, depth: int) -> Parts:
    """Configure a row of Table 11; give the weights as an override: ``train.init_checkpoint=r50.pth``.

    Args:
        kind: c4, fpn or retinanet.
        depth: 50 or 101.

    Source: detectron2/configs/common, with the RGB settings of a torchvision or timm backbone.
    """
    model = _detector(kind)
    resnet = model.backbone if kind == "c4" else model.backbone.bottom_up
    resnet.freeze_at = 2
    resnet.stages.depth, resnet.stages.stride_in_1x1 = depth, False
    if kind == "c4":
        model.roi_heads.res5.stride_in_1x1 = False  # a separate setting, which is easily forgotten
    return _around(model, 0.01 if kind == "retinanet" else 0.02)


def timm_fpn(name: str, *, lr: float = 0.02) -> Parts:
    """Configure Faster R-CNN with FPN on a timm backbone.

    Args:
        name: name of the timm model; its weights are ``model.backbone.bottom_up.checkpoint=RUN``.
        lr: learning rate of SGD, for 16 images per step.

    Source: detectron2/configs/common/models/mask_rcnn_fpn.py.
    """
    model = _detector("fpn")
    model.backbone.bottom_up = LazyCall(TimmBackbone)(
        name=name,
        checkpoint="",
        pretrained=False,
        freeze_at=2,
        norm="FrozenBN",
        out_features=["res2", "res3", "res4", "res5"],
        pixel_mean="${model.pixel_mean}",
        pixel_std="${model.pixel_std}",
        options={},
    )
    return _around(model, lr)


def _detector(kind: str) -> Any:
    """Return Detectron2's own model, without masks and with RGB input."""
    model = model_zoo.get_config(f"common/models/{_MODELS[kind]}.py").model
    for name in [key for key in model.get("roi_heads", {}) if key.startswith("mask_")]:
        del model.roi_heads[name]
    model.input_format, model.pixel_mean, model.pixel_std = "RGB", PIXEL_MEAN, PIXEL_STD
    return model


def _around(model: Any, lr: float) -> Parts:
    dataloader = model_zoo.get_config("common/data/coco.py").dataloader
    dataloader.train.mapper.use_instance_mask = False
    dataloader.train.mapper.image_format = "RGB"  # the test mapper refers to it
    dataloader.evaluator.output_dir = "${train.output_dir}/inference"
    optimizer = model_zoo.get_config("common/optim.py").SGD
    optimizer.lr = lr
    train = model_zoo.get_config("common/train.py").train
    train.max_iter, train.eval_period = SCHEDULE, 0  # evaluated at the end, as in the YAML files
    return Parts(
        model, dataloader, optimizer, model_zoo.get_config("common/coco_schedule.py").lr_multiplier_3x, train
    )
