"""The paper's classification tables and figures as recipes. Does not import torch."""

from pathlib import Path

from experiments.grid import Grid

COLUMNS = {"cut area": "box_area_share", "saliency in it": "box_saliency_share"}
GRID = Grid(Path(__file__).parent / "tables", "pretrain.train", COLUMNS)
