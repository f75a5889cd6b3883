"""What ``python -m semi_supervised.reproduce`` can train."""

from __future__ import annotations

from experiments.options import ReproduceOptions
from experiments.reproduce import Suite, reproduce
from semi_supervised.grid import GRID
from semi_supervised.train import main as train_command

COLUMNS = {
    "median of 20": "median",
    "mask rate": "mask_rate",
    "pseudo-labels right": "pseudo_label_accuracy",
    "kept saliency": "kept_saliency_share",
}
SUITE = Suite(GRID, train_command.read, COLUMNS)


def run(options: ReproduceOptions) -> int:
    """Run what is missing of a table and print it; returns the exit code."""
    return reproduce(SUITE, options)
