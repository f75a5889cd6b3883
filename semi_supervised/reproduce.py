"""``python -m semi_supervised.reproduce --table 9``: run what is missing, and print the paper beside ours.

``--list`` shows every cell of Table 9 and beyond without running anything. Headline: the averaged network after
the last epoch; beside it the median of the last 20 evaluations.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from experiments.reproduce import Suite, command_line
from semi_supervised.grid import GRID
from semi_supervised.train import read_config

PROG = "python -m semi_supervised.reproduce"
COLUMNS = {
    "median of 20": "median",
    "mask rate": "mask_rate",
    "pseudo-labels right": "pseudo_label_accuracy",
    "kept saliency": "kept_saliency_share",
}
SUITE = Suite(GRID, read_config, COLUMNS)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and reproduce; returns the exit code."""
    return command_line(SUITE, argv, PROG, str(__doc__))


if __name__ == "__main__":
    sys.exit(main())
