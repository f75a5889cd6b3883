"""Check a re-ID data set: counts beside the published ones, and why queries have no positive."""

import sys
from dataclasses import dataclass
from typing import Literal

from engine.command import subcommands
from engine.parser import positional


@dataclass(frozen=True)
class CheckOptions:
    """Compare a data set with the published counts, and say why a query has no positive; exit code 1 for problems.

    Attributes:
        root: folder of the data set, or CSV file.
        dataset: layout of the data set; "" recognises it.
        decode: also decode every image.
    """

    root: str = positional()
    dataset: Literal["", "market1501", "dukemtmc", "msmt17", "folder", "csv"] = ""
    decode: bool = False


main = subcommands(check=(CheckOptions, "reid.data_check:check"))

if __name__ == "__main__":
    sys.exit(main())
