"""Compare a converted backbone, loaded and fed by Detectron2 itself, with the timm network it came from."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from detection.arch import Arch
from detection.write import config_keys
from keepcore.run.errors import UserError

TOLERANCE = 1e-5
STAGES = ("res2", "res3", "res4", "res5")


def verify(
    state: dict[str, Tensor],
    name: str,
    arch: Arch,
    weights: Path,
    mean: Sequence[float],
    std: Sequence[float],
    image_3HW: Tensor | None = None,
) -> dict[str, float]:
    """Run one image through both networks.

    Args:
        state: the source weights, timm names.
        name: timm name of the network.
        arch: the same in Detectron2's terms.
        weights: the converted file.
        mean: of the normalisation, of values in [0, 1].
        std: the same.
        image_3HW: uint8 RGB; None: a fixed random one of 224 x 256.

    Returns:
        Stage -> largest difference / largest feature, res2 to res5. Below 1e-5 is equal up to rounding.

    Raises:
        UserError: Detectron2 is not installed, or a backbone tensor was not filled from the file.

    Source: detectron2/checkpoint, detectron2/modeling; features of timm.create_model(features_only=True).
    """
    if image_3HW is None:
        seeded = torch.Generator().manual_seed(0)
        image_3HW = torch.randint(0, 256, (3, 224, 256), generator=seeded, dtype=torch.uint8)
    reference = timm.create_model(name, pretrained=False, features_only=True, out_indices=(1, 2, 3, 4)).eval()
    reference.load_state_dict({k: v.float() for k, v in state.items() if not k.startswith("fc.")}, strict=True)
    with torch.no_grad():
        mean_C11, std_C11 = (torch.tensor(values).view(3, 1, 1) for values in (mean, std))
        wanted = reference(((image_3HW.float() / 255 - mean_C11) / std_C11)[None])
        model = _detectron2_model(arch, weights, mean, std)
        got = model.backbone.bottom_up(model.preprocess_image([{"image": image_3HW}]).tensor)
    return {
        stage: float((got[stage] - feature).abs().max() / feature.abs().max())
        for stage, feature in zip(STAGES, wanted, strict=True)
    }


def _detectron2_model(arch: Arch, weights: Path, mean: Sequence[float], std: Sequence[float]) -> Any:
    """Build a small detector on the backbone and load the file the way train_net.py does."""
    try:
        from detectron2.checkpoint import DetectionCheckpointer
        from detectron2.config import CfgNode, get_cfg
        from detectron2.modeling import build_model
    except ImportError as error:
        raise UserError(
            f"--verify needs Detectron2 ({error}): see the README, or convert without --verify"
        ) from error
    cfg = get_cfg()
    cfg.merge_from_other_cfg(CfgNode(config_keys(arch, weights, mean, std)))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.META_ARCHITECTURE = "RetinaNet"
    cfg.MODEL.BACKBONE.NAME = "build_resnet_fpn_backbone"
    cfg.MODEL.RESNETS.OUT_FEATURES = cfg.MODEL.FPN.IN_FEATURES = list(STAGES)
    cfg.MODEL.FPN.OUT_CHANNELS = 8
    cfg.MODEL.RETINANET.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    model = build_model(cfg).eval()
    logging.getLogger("fvcore.common.checkpoint").setLevel(logging.ERROR)  # it lists the untrained FPN and heads
    DetectionCheckpointer(model).load(str(weights))
    missing = unfilled(model, weights)
    if missing:
        raise UserError(f"Detectron2 left {len(missing)} backbone tensors unfilled, e.g. {missing[0]}")
    return model


def unfilled(model: Any, weights: Path) -> list[str]:
    """List backbone tensors of a Detectron2 model that do not carry the file's values.

    Args:
        model: a built and loaded detector; FPN, RetinaNet or C4.
        weights: the converted .pth or .pkl.

    Returns:
        Names in the model, empty when every tensor was filled.

    Source: detectron2 only warns about unfilled tensors.
    """
    if weights.suffix == ".pkl":
        content = pickle.loads(weights.read_bytes())
    else:
        content = torch.load(weights, map_location="cpu", weights_only=True)
    held = {name: torch.as_tensor(value) for name, value in content["model"].items()}
    own = model.state_dict()
    wrong = []
    for name, tensor in held.items():
        homes = [
            key for key in own if (key.endswith(f".{name}") and "backbone" in key) or key == f"roi_heads.{name}"
        ]
        if not any(torch.equal(own[key].float().cpu(), tensor.float()) for key in homes):
            wrong.append(name)
    return wrong
