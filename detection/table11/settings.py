"""Reads row, schedule and weights from the config.yaml of an OUTPUT_DIR; YAML configs and LazyConfigs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from detection.table11.rows import ROWS
from engine.errors import UserError

OTHER = "other"  # for configs that are not a row of Table 11


class Settings(NamedTuple):
    """How a detector was trained.

    Attributes:
        row: short name of the row of Table 11, or "other".
        iterations: number of iterations in the config.
        batch: images per step in the config.
        gpus: number of GPUs that iterations and batch refer to, if Detectron2 scales them; 0 if it does not.
        beta: RetinaNet's SMOOTH_L1_LOSS_BETA, or None.
        weights: initial weights.
    """

    row: str = OTHER
    iterations: int = 0
    batch: int = 0
    gpus: int = 0
    beta: float | None = None
    weights: str = ""


def read_config(path: Path) -> dict[str, Any]:
    """Read a config.yaml; Python objects in a LazyConfig's dump become None.

    Raises:
        UserError: the file is missing, is not valid YAML, or is not a config of Detectron2.

    Source: detectron2/engine/defaults.py, which writes the file.
    """

    class Loader(yaml.SafeLoader):
        """Reads Python objects as None."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)  # type: ignore
    try:
        cfg = yaml.load(path.read_text(), Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(cfg, dict) or not {"MODEL", "model"} & cfg.keys():
        raise UserError(f"{path} is not a config.yaml of train_net.py: it has no MODEL")
    return cfg


def settings_of(cfg: Mapping[str, Any]) -> Settings:
    """Extract the settings of a run.

    Args:
        cfg: from :func:`read_config`.

    Returns:
        The settings; the row is "other" if the config is not in Table 11.

    Source: detectron2/config/defaults.py; detectron2/configs/common.
    """
    try:
        return _of_yaml(cfg) if "MODEL" in cfg else _of_lazy(cfg)
    except (KeyError, TypeError, AttributeError, ValueError):
        return Settings()


def _of_yaml(cfg: Mapping[str, Any]) -> Settings:
    model, solver = cfg["MODEL"], cfg["SOLVER"]
    retina = model["META_ARCHITECTURE"] == "RetinaNet"
    kind = "retinanet" if retina else "fpn" if "fpn" in model["BACKBONE"]["NAME"] else "c4"
    return Settings(
        row=_row(kind, model["RESNETS"]["DEPTH"]),
        iterations=int(solver["MAX_ITER"]),
        batch=int(solver["IMS_PER_BATCH"]),
        gpus=int(solver.get("REFERENCE_WORLD_SIZE", 0)),
        beta=float(model["RETINANET"]["SMOOTH_L1_LOSS_BETA"]) if retina else None,
        weights=str(model["WEIGHTS"]),
    )


def _of_lazy(cfg: Mapping[str, Any]) -> Settings:
    model, train = cfg["model"], cfg["train"]
    retina, bottom_up = model["_target_"].endswith("RetinaNet"), model["backbone"].get("bottom_up")
    kind = "retinanet" if retina else "fpn" if bottom_up else "c4"
    resnet = bottom_up or model["backbone"]
    return Settings(
        row=_row(kind, resnet.get("stages", {}).get("depth")),  # a TimmBackbone has no depth and is not a row
        iterations=int(train["max_iter"]),
        batch=int(cfg["dataloader"]["train"]["total_batch_size"]),
        beta=float(model.get("smooth_l1_beta", 0.0)) if retina else None,
        weights=str(resnet.get("checkpoint") or train["init_checkpoint"]),
    )


def _row(kind: str, depth: Any) -> str:
    return f"{kind}_r{depth}" if f"{kind}_r{depth}" in ROWS else OTHER


def input_of(cfg: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Read a detector's image format and the location of its backbone's strides.

    Args:
        cfg: from :func:`read_config`.
        path: path of the config, for the message.

    Returns:
        format, mean and std (for values in [0, 1]), and stride_in_1x1.

    Raises:
        UserError: a key is missing, or the ResNet has dilated or deformable convolutions.

    Source: detectron2/config/defaults.py; detectron2/configs/common.
    """
    try:
        if "MODEL" in cfg:
            model, resnet = cfg["MODEL"], cfg["MODEL"]["RESNETS"]
            mean, std, order = model["PIXEL_MEAN"], model["PIXEL_STD"], cfg["INPUT"]["FORMAT"]
            stride = resnet["STRIDE_IN_1X1"]
            odd = resnet.get("RES5_DILATION", 1) != 1 or any(resnet.get("DEFORM_ON_PER_STAGE", []))
        else:
            model = cfg["model"]
            resnet = model["backbone"].get("bottom_up") or model["backbone"]
            mean, std, order = model["pixel_mean"], model["pixel_std"], model["input_format"]
            stride, odd = resnet["stages"]["stride_in_1x1"], False
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} lacks {error}, so it is not the config of a detector with Detectron2's ResNet"
        ) from error
    if odd:
        raise UserError(f"{path} has dilated or deformable convolutions, unlike timm's ResNet")
    scaled = {"mean": [round(v / 255, 7) for v in mean], "std": [round(v / 255, 7) for v in std]}
    return {"format": order, "stride_in_1x1": stride, **scaled}
