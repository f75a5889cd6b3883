"""Train a classification backbone on ImageNet, CIFAR or a folder of images.

``--config`` takes a YAML file, the name of a shipped recipe, or a cell of the paper's tables, such as
``table2/keepcutout-l16``; any option can be overridden on the command line.
"""

import sys

from engine.command import command
from engine.parser import Recipes
from pretrain.config import RECIPES, Config
from pretrain.grid import GRID

main = command(Config, "pretrain.trainer:train", Recipes(RECIPES, GRID.recipes))

if __name__ == "__main__":
    sys.exit(main())
