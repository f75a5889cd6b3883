"""Generate the demo set and print its location."""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional


@dataclass(frozen=True)
class DemoOptions:
    """Make the demo set (about 15 s, 20 MB); once made, it is kept.

    Attributes:
        folder: folder to hold it; "" means $KEEPAUGMENT_DEMO, or .demo/data in the checkout.
    """

    folder: str = positional(nargs="?", default="")


main = command(DemoOptions, "imagesets.demo.make:run")

if __name__ == "__main__":
    sys.exit(main())
