"""Table 9 and further experiments as recipes. Does not import torch."""

from pathlib import Path

from experiments.grid import Grid

COLUMNS = {
    "median of 20": "median",
    "mask rate": "mask_rate",
    "pseudo-labels right": "pseudo_label_accuracy",
    "kept saliency": "kept_saliency_share",
}
GRID = Grid(Path(__file__).parent / "tables", "semi_supervised.train", COLUMNS)
