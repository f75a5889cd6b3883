"""Print Table 11 from the output folders of train_net.py.

A folder counts for the row that its config.yaml describes and the arm with which its backbone was trained, as
recorded in the converted file; otherwise, name the arm with ``plain=DIR``. Runs of the same row and arm are seeds,
reported as mean, standard deviation and count. Runs that are unfinished or not of the full schedule are marked.
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
        runs: OUTPUT_DIRs of train_net.py, each optionally as arm=OUTPUT_DIR.
        metric: column of metrics.json to print, e.g. bbox/AP, bbox/AP50 or bbox/APs.
        form: output format.
        out: file to write the table to as well; "" writes none.
    """

    runs: tuple[str, ...] = positional(nargs="+")
    metric: str = "bbox/AP"
    form: Literal["text", "markdown", "csv", "json"] = "text"
    out: str = ""


main = command(CollectOptions, "detection.table11.collect:collect")

if __name__ == "__main__":
    sys.exit(main())
