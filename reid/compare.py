"""Test whether two re-ID runs, or feature files, differ on the same queries.

ONE and OTHER are run folders or checkpoints of reid.train, or .npz files as reid.evaluate takes them. Differences
with 95 % intervals and p-values come from a paired bootstrap over identities. Numbers go to stdout as JSON, a
table to stderr.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional
from reid.config import Embedding, Protocol


@dataclass(frozen=True)
class CompareOptions(Protocol, Embedding):
    """Test two re-identification runs or feature files against one another.

    Attributes:
        one: run, checkpoint or .npz.
        other: run, checkpoint or .npz with the same queries and gallery.
        dataset: data set to evaluate on; "" takes the one of the training.
        root: folder of the data; "" takes the one of the training.
        multi_query: average each query with the photographs of gt_bbox by its camera.
        json_file: file that also receives the numbers; "" writes none.
    """

    one: str = positional()
    other: str = positional()
    dataset: str = ""
    root: str = ""
    multi_query: bool = False
    json_file: str = ""


main = command(CompareOptions, "reid.evaluation.comparison:report_comparison")

if __name__ == "__main__":
    sys.exit(main())
