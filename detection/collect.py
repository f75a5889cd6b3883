"""Print Table 11 from what train_net.py left behind.

A folder counts for the row that its config.yaml describes and the arm that its backbone was trained with, which
the converted file knows; ``plain=DIR`` names the arm where the file does not. Runs of one row and arm are seeds:
mean, standard deviation and number. Runs that are not the full schedule, or have not finished, are marked.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from engine.command import command
from engine.parser import positional


@dataclass(frozen=True)
class CollectOptions:
    """Print Table 11 from OUTPUT_DIRs of train_net.py.

    Attributes:
        runs: OUTPUT_DIRs of train_net.py, or arm=OUTPUT_DIR.
        metric: column of metrics.json to print, e.g. bbox/AP, bbox/AP50 or bbox/APs.
        form: form of the table.
        out: file that also receives the table; "" writes none.
    """

    runs: tuple[str, ...] = positional(nargs="+")
    metric: str = "bbox/AP"
    form: Literal["text", "markdown", "csv", "json"] = "text"
    out: str = ""


main = command(CollectOptions, "detection.table11.collect:collect")

if __name__ == "__main__":
    sys.exit(main())
