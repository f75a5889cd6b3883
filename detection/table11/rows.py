"""The rows of Table 11, with the paper's numbers. Imports nothing heavy."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

from detection.rows import RowsOptions
from engine.errors import UserError, nearest

CONFIGS = Path(__file__).parents[1] / "configs"
SCHEDULE, BATCH = 270_000, 16  # iterations of every row, the zoo's 3x, and images in each


class Row(NamedTuple):
    """One row of Table 11.

    Attributes:
        title: as in the paper.
        config: name of the YAML file, without suffix.
        depth: of the ResNet.
        paper: box AP of Detectron2's own backbone in the paper.
        zoo: the same in today's model zoo.
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
        """The YAML file."""
        return CONFIGS / f"{self.config}.yaml"


ROWS: dict[str, Row] = {
    "c4_r50": Row("Faster R-CNN R50-C4", "faster_rcnn_R_50_C4_3x", 50, 38.4, 38.4, 39.5),
    "fpn_r50": Row("Faster R-CNN R50-FPN", "faster_rcnn_R_50_FPN_3x", 50, 40.2, 40.2, 40.7),
    "retinanet_r50": Row("RetinaNet R50-FPN", "retinanet_R_50_FPN_3x", 50, 37.9, 38.7, 39.1),
    "c4_r101": Row("Faster R-CNN R101-C4", "faster_rcnn_R_101_C4_3x", 101, 41.1, 41.1, 42.2),
    "fpn_r101": Row("Faster R-CNN R101-FPN", "faster_rcnn_R_101_FPN_3x", 101, 42.0, 42.0, 42.9),
    "retinanet_r101": Row("RetinaNet R101-FPN", "retinanet_R_101_FPN_3x", 101, 39.9, 40.4, 41.2),
}

# Small images, few proposals, two iterations: shows on a CPU that everything fits together. The AP means nothing.
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
    """Give the quick overrides as ``train_net.py`` takes them: KEY VALUE KEY VALUE.

    Source: the sizes are ours.
    """
    return [word for key, value in QUICK.items() for word in (key, str(value).replace(" ", ""))]


def find_row(name: str) -> Row:
    """Look a row up.

    Args:
        name: its short name or that of its config.

    Raises:
        UserError: no such row; says the nearest.

    Source: Table 11.
    """
    by_config = {row.config: row for row in ROWS.values()}
    if name in ROWS or name in by_config:
        return ROWS.get(name) or by_config[name]
    raise UserError(f"row: no row {name!r}{nearest(name, ROWS)}: one of {', '.join(ROWS)}")


def list_rows(options: RowsOptions) -> None:
    """Print one line a row; copy the files where asked.

    Raises:
        UserError: a file of that name with another content is there.

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
            raise UserError(f"copy: {target} is there and differs from ours: move it away, or name another folder")
        shutil.copyfile(row.path, target)
