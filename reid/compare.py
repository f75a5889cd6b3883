"""Test whether two re-ID runs, or feature files, differ on the same queries.

ONE and OTHER are run folders or checkpoints of reid.train, or .npz files as reid.evaluate takes them. Differences
with 95 % intervals and p-values come from a paired bootstrap over identities. Numbers go to stdout as JSON, a
table to stderr.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional
from reid.config import Evaluation


@dataclass(frozen=True)
class CompareOptions(Evaluation):
    """Test two re-identification runs or feature files against one another.

    Attributes:
        one: run, checkpoint or .npz.
        other: run, checkpoint or .npz with the same queries and gallery.
    """

    one: str = positional()
    other: str = positional()


main = command(CompareOptions, "reid.evaluation.comparison:compare_two")

if __name__ == "__main__":
    sys.exit(main())
