"""The rows of Table 11, with the paper's numbers. Imports nothing heavy."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

from detection.rows import RowsOptions
from engine.errors import UserError, nearest

CONFIGS = Path(__file__).parents[1] / "configs"
SCHEDULE, BATCH = 270_000, 16  # iterations of every row (the zoo's 3x schedule), and images per iteration


class Row(NamedTuple):
    """One row of Table 11.

    Attributes:
        title: title in the paper.
        config: name of the YAML file, without the suffix.
        depth: depth of the ResNet.
        paper: box AP of Detectron2's own backbone, as in the paper.
        zoo: box AP of the same detector in today's model zoo.
        keep: box AP of the paper's KeepCutMix backbone.
    """

    title: str
    config: str
    depth: int
    paper: float
    zoo: float
    keep: float

    @property
    def path(self) -> Path:
        """Path of the YAML file."""
        return CONFIGS / f"{self.config}.yaml"


ROWS: dict[str, Row] = {
    "c4_r50": Row("Faster R-CNN R50-C4", "faster_rcnn_R_50_C4_3x", 50, 38.4, 38.4, 39.5),
    "fpn_r50": Row("Faster R-CNN R50-FPN", "faster_rcnn_R_50_FPN_3x", 50, 40.2, 40.2, 40.7),
    "retinanet_r50": Row("RetinaNet R50-FPN", "retinanet_R_50_FPN_3x", 50, 37.9, 38.7, 39.1),
    "c4_r101": Row("Faster R-CNN R101-C4", "faster_rcnn_R_101_C4_3x", 101, 41.1, 41.1, 42.2),
    "fpn_r101": Row("Faster R-CNN R101-FPN", "faster_rcnn_R_101_FPN_3x", 101, 42.0, 42.0, 42.9),
    "retinanet_r101": Row("RetinaNet R101-FPN", "retinanet_R_101_FPN_3x", 101, 39.9, 40.4, 41.2),
}

# Small images, few proposals and two iterations: a test of the whole pipeline on a CPU. The AP is meaningless.
QUICK: dict[str, Any] = {
    "MODEL.DEVICE": "cpu",
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.BASE_LR": 0.0005,
    "SOLVER.MAX_ITER": 2,
    "SOLVER.STEPS": (),
    "SOLVER.WARMUP_ITERS": 1,
    "INPUT.MIN_SIZE_TRAIN": (128,),
    "INPUT.MAX_SIZE_TRAIN": 200,
    "INPUT.MIN_SIZE_TEST": 128,
    "INPUT.MAX_SIZE_TEST": 200,
    "DATALOADER.NUM_WORKERS": 0,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 200,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 100,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 20,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 16,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
    "MODEL.RETINANET.SCORE_THRESH_TEST": 0.0,
}


def quick_options() -> list[str]:
    """Return the quick overrides in the format of ``train_net.py``: KEY VALUE KEY VALUE.

    Source: sizes chosen for this package.
    """
    return [word for key, value in QUICK.items() for word in (key, str(value).replace(" ", ""))]


def find_row(name: str) -> Row:
    """Look up a row.

    Args:
        name: short name of the row, or name of its config.

    Raises:
        UserError: there is no such row; the message suggests the nearest one.

    Source: Table 11.
    """
    by_config = {row.config: row for row in ROWS.values()}
    if name in ROWS or name in by_config:
        return ROWS.get(name) or by_config[name]
    raise UserError(f"row: unknown row {name!r}{nearest(name, ROWS)}: choose from {', '.join(ROWS)}")


def list_rows(options: RowsOptions) -> None:
    """Print one line per row, and copy the config files if requested.

    Raises:
        UserError: a file of the same name but with different content exists.

    Source: Table 11; detectron2's MODEL_ZOO.md.
    """
    home = Path(options.copy) if options.copy else CONFIGS
    if options.copy:
        _copy(home)
    for name, row in ROWS.items():
        numbers = f"paper {row.paper} -> {row.keep}, zoo today {row.zoo}"
        print(f"{name:15} {row.title:22} {numbers:38} {(home / row.path.name).resolve()}")


def _copy(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for row in ROWS.values():
        target = folder / row.path.name
        if target.exists() and target.read_bytes() != row.path.read_bytes():
            raise UserError(f"copy: {target} exists with different content: move it, or give another folder")
        shutil.copyfile(row.path, target)
