"""Train a classifier from few labels: UDA with RandAugment and Cutout, plain or with Keep.

``--config`` takes a YAML file, the name of a shipped recipe, or a cell of Table 9 or beyond; any option can be
overridden on the command line.
"""

import sys

from engine.command import command
from engine.parser import Recipes
from semi_supervised.config import RECIPES, Config
from semi_supervised.grid import GRID

main = command(Config, "semi_supervised.trainer:train", Recipes(RECIPES, GRID.recipes))

if __name__ == "__main__":
    sys.exit(main())
