"""Check a re-ID data set: compare its counts with the published ones and explain queries without a positive."""

import sys
from dataclasses import dataclass
from typing import Literal

from engine.command import subcommands
from engine.parser import positional


@dataclass(frozen=True)
class CheckOptions:
    """Compare counts with the published ones and explain queries without a positive; exit code 1 for problems.

    Attributes:
        root: folder of the data set, or the CSV file.
        dataset: layout of the data set; "" detects it.
        decode: also decode every image.
    """

    root: str = positional()
    dataset: Literal["", "market1501", "dukemtmc", "msmt17", "folder", "csv"] = ""
    decode: bool = False


main = subcommands(check=(CheckOptions, "reid.check_data:check"))

if __name__ == "__main__":
    sys.exit(main())
