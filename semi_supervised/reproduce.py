"""Run the missing cells of Table 9, and print the paper's numbers next to the reproduced ones.

``--list`` shows every cell of Table 9, and beyond, without running anything. The main number is the accuracy of
the averaged network after the last epoch; the median of the last 20 evaluations is next to it.
"""

import sys

from engine.command import command
from experiments.options import ReproduceOptions
from semi_supervised.grid import GRID

main = command(ReproduceOptions, "experiments.reproduce:reproduce", grid=GRID)

if __name__ == "__main__":
    sys.exit(main())
