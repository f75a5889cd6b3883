"""How the config of a run differs from that of its row: only like runs may be compared or averaged."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from detection.table11.rows import ROWS

# Keys that change nothing that is measured, or belong to the backbone.
IRRELEVANT = {
    *("OUTPUT_DIR", "SEED", "VERSION", "CUDNN_BENCHMARK", "VIS_PERIOD", "DATALOADER.NUM_WORKERS"),
    *("TEST.EVAL_PERIOD", "SOLVER.CHECKPOINT_PERIOD", "SOLVER.AMP.ENABLED", "MODEL.DEVICE"),
    *("MODEL.WEIGHTS", "MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD", "INPUT.FORMAT", "MODEL.RESNETS.STRIDE_IN_1X1"),
    "MODEL.RETINANET.SMOOTH_L1_LOSS_BETA",
    *("train.output_dir", "train.seed", "train.init_checkpoint", "model.backbone.bottom_up.checkpoint"),
}
LENGTH = {"SOLVER.MAX_ITER", "SOLVER.IMS_PER_BATCH", "SOLVER.REFERENCE_WORLD_SIZE"}  # judged by DetectorRun.remark
SCALED = {"SOLVER.BASE_LR", "SOLVER.STEPS", "SOLVER.WARMUP_ITERS"}  # with the batch or the number of GPUs


def differences(cfg: Mapping[str, Any], row: str) -> tuple[str, ...]:
    """List the keys in which the config of a run differs from its row's.

    Args:
        cfg: content of the run's config.yaml; keys that it lacks are not compared.
        row: short name of the row; "other" has no config to compare with.

    Returns:
        ``KEY value instead of value`` for each; empty for a LazyConfig.
    """
    if row not in ROWS or "MODEL" not in cfg:
        return ()
    expected, own = _row_config(row), _flat(cfg)
    solver = cfg.get("SOLVER", {})
    scaled = bool(solver.get("REFERENCE_WORLD_SIZE")) or solver.get("IMS_PER_BATCH", 16) != 16
    ignored = IRRELEVANT | LENGTH | (SCALED if scaled else set())
    return tuple(
        f"{key} {own[key]} instead of {expected[key]}"
        for key in sorted(own.keys() & expected.keys() - ignored)
        if own[key] != expected[key]
    )


def signature(cfg: Mapping[str, Any]) -> str:
    """Return the same text for runs that are seeds of one another: their configs are equal where that matters."""
    flat = {key: value for key, value in _flat(cfg).items() if key not in IRRELEVANT}
    return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()


@cache
def _row_config(row: str) -> dict[str, str]:
    """Return the row's whole config, flattened; without Detectron2 the keys of its file alone."""
    path = ROWS[row].path
    try:
        from detectron2.config import get_cfg
    except ImportError:
        return _flat(yaml.safe_load(path.read_text()))
    cfg = get_cfg()
    cfg.merge_from_file(str(path))
    return _flat(yaml.safe_load(cfg.dump()))


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    """Flatten to ``GROUP.KEY`` -> text; lists and tuples are the same."""
    if isinstance(value, Mapping):
        parts = [_flat(item, f"{prefix}.{key}" if prefix else str(key)) for key, item in value.items()]
        return {key: text for part in parts for key, text in part.items()}
    return {prefix: str(list(value)) if isinstance(value, list | tuple) else str(value)}
