"""``python -m pretrain.reproduce --table 2``: run what is missing of a table, and print the paper beside ours.

``--list`` shows every cell of Tables 1 to 8, Figures 2 and 3 and beyond without running anything.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from experiments.reproduce import Suite, command_line
from pretrain.grid import GRID
from pretrain.train import read_config

PROG = "python -m pretrain.reproduce"
SUITE = Suite(GRID, read_config, {"cut area": "box_area_share", "saliency in it": "box_saliency_share"})


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and reproduce; returns the exit code."""
    return command_line(SUITE, argv, PROG, str(__doc__))


if __name__ == "__main__":
    sys.exit(main())
