"""``python -m imagesets.demo [FOLDER]``: make the demo set."""

from __future__ import annotations

import sys
from pathlib import Path

from engine.errors import guard
from imagesets.demo import ensure


def main() -> None:
    """Make the demo set and print where it is."""
    if "-h" in sys.argv or "--help" in sys.argv:
        print("usage: python -m imagesets.demo [FOLDER]\n\nMake the demo set (cached; default .demo/data).")
        return
    print(ensure(Path(sys.argv[1]) if len(sys.argv) > 1 else None))


if __name__ == "__main__":
    sys.exit(guard(main))
