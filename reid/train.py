"""Train a re-identification network: the strong baseline, with plain or selective Random Erasing.

``--config`` takes a YAML file or the name of a shipped recipe; every option can be overridden on the command line.
"""

import sys

from engine.command import command
from engine.parser import Recipes
from reid.config import RECIPES, Config

main = command(Config, "reid.trainer:train", Recipes(RECIPES))

if __name__ == "__main__":
    sys.exit(main())
