"""What ``python -m pretrain.reproduce`` can train."""

from __future__ import annotations

from experiments.options import ReproduceOptions
from experiments.reproduce import Suite, reproduce
from pretrain.grid import GRID
from pretrain.train import main as train_command

SUITE = Suite(GRID, train_command.read, {"cut area": "box_area_share", "saliency in it": "box_saliency_share"})


def run(options: ReproduceOptions) -> int:
    """Run what is missing of a table and print it; returns the exit code."""
    return reproduce(SUITE, options)
