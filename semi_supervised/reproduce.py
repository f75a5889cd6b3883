"""Run what is missing of Table 9, and print the paper's numbers beside ours.

``--list`` shows every cell of Table 9 and beyond without running anything. The headline number is the averaged
network after the last epoch; beside it stands the median of the last 20 evaluations.
"""

import sys

from engine.command import command
from experiments.options import ReproduceOptions
from semi_supervised.grid import GRID

main = command(ReproduceOptions, "experiments.reproduce:reproduce", grid=GRID)

if __name__ == "__main__":
    sys.exit(main())
