"""Run the missing cells of a table of the paper, and print the paper's numbers next to the reproduced ones.

``--list`` shows every cell of Tables 1 to 8, Figures 2 and 3, and beyond, without running anything.
"""

import sys

from engine.command import command
from experiments.options import ReproduceOptions
from pretrain.grid import GRID

main = command(ReproduceOptions, "experiments.reproduce:reproduce", grid=GRID)

if __name__ == "__main__":
    sys.exit(main())
