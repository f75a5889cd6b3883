"""List the rows of Table 11 with their config files."""

import sys
from dataclasses import dataclass

from engine.command import command


@dataclass(frozen=True)
class RowsOptions:
    """List the rows of Table 11 with their config files.

    Attributes:
        copy: folder to copy the YAML files to; "" copies none.
    """

    copy: str = ""


main = command(RowsOptions, "detection.table11.rows:list_rows")

if __name__ == "__main__":
    sys.exit(main())
