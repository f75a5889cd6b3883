"""Compares a converted backbone, loaded and run by Detectron2 itself, with the original timm network."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from detection.checkpoints.arch import Arch
from detection.checkpoints.write import config_keys
from detection.detectors.build import load_weights, missing_tensors, quiet
from engine.errors import UserError

TOLERANCE = 1e-5
STAGES = ("res2", "res3", "res4", "res5")
ROI_HEAD = "res5, C4 head"


def is_installed() -> bool:
    """Return whether Detectron2 is installed."""
    return importlib.util.find_spec("detectron2") is not None


def verify(
    state: dict[str, Tensor],
    name: str,
    arch: Arch,
    weights: Path,
    mean: Sequence[float],
    std: Sequence[float],
    image_3HW: Tensor | None = None,
) -> dict[str, float]:
    """Run one image through both networks and compare their features.

    Args:
        state: source weights, with timm names.
        name: timm name of the network.
        arch: the same network in Detectron2's terms.
        weights: converted file.
        mean: mean of the normalisation, for values in [0, 1].
        std: standard deviation, likewise.
        image_3HW: uint8 RGB image; None uses a fixed random one of 224 x 256.

    Returns:
        Stage -> largest difference / largest feature, for res2 to res5 and, if the network has bottlenecks, for
        res5 as the RoI head of a C4 detector. Values below 1e-5 mean equality up to rounding.

    Raises:
        UserError: a backbone tensor was not filled from the file.

    Source: detectron2/checkpoint, detectron2/modeling; features of timm.create_model(features_only=True).
    """
    if image_3HW is None:
        seeded = torch.Generator().manual_seed(0)
        image_3HW = torch.randint(0, 256, (3, 224, 256), generator=seeded, dtype=torch.uint8)
    reference = timm.create_model(name, pretrained=False, features_only=True, out_indices=(1, 2, 3, 4)).eval()
    reference.load_state_dict({k: v.float() for k, v in state.items() if not k.startswith("fc.")}, strict=True)
    model = _detector(arch, weights, mean, std, "RetinaNet")
    with torch.no_grad():
        mean_C11, std_C11 = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
        expected = dict(
            zip(STAGES, reference(((image_3HW.float() / 255 - mean_C11) / std_C11)[None]), strict=True)
        )
        actual = model.backbone.bottom_up(model.preprocess_image([{"image": image_3HW}]).tensor)
        if arch.bottleneck:
            head = _detector(arch, weights, mean, std, "GeneralizedRCNN").roi_heads.res5
            expected[ROI_HEAD], actual[ROI_HEAD] = expected["res5"], head(expected["res4"])
    return {
        stage: float((actual[stage] - feature).abs().max() / feature.abs().max())
        for stage, feature in expected.items()
    }


def _detector(arch: Arch, weights: Path, mean: Sequence[float], std: Sequence[float], kind: str) -> Any:
    """Build a detector with small heads, RetinaNet or C4, and load the file as train_net.py does."""
    from detectron2.config import CfgNode, get_cfg
    from detectron2.modeling import build_model

    cfg = get_cfg()
    cfg.merge_from_other_cfg(CfgNode(config_keys(arch, weights, mean, std)))
    cfg.MODEL.DEVICE, cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.LOAD_PROPOSALS = "cpu", kind, False
    if kind == "RetinaNet":
        cfg.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
        cfg.MODEL.RESNETS.OUT_FEATURES = cfg.MODEL.FPN.IN_FEATURES = list(STAGES)
        cfg.MODEL.FPN.OUT_CHANNELS = 8
        cfg.MODEL.RETINANET.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    with quiet():
        model = build_model(cfg).eval()
    missing = missing_tensors(model, load_weights(model, weights))
    if missing:
        raise UserError(f"Detectron2 left {len(missing)} backbone tensors unfilled, e.g. {missing[0]}")
    return model
