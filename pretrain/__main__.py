"""``python -m pretrain``: list the commands."""

import sys
from pathlib import Path

from engine.command import list_commands

if __name__ == "__main__":
    sys.exit(list_commands(Path(__file__).parent))
