"""Test whether two re-ID runs, or feature files, differ on the same queries.

ONE and OTHER are run folders or checkpoints of reid.train, or .npz files in the format of reid.evaluate. A paired
bootstrap over identities gives differences with 95 % intervals and p-values. The numbers are printed to stdout as
JSON and to stderr as a table.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional
from reid.config import Evaluation


@dataclass(frozen=True)
class CompareOptions(Evaluation):
    """Test whether two re-identification runs or feature files differ on the same queries.

    Attributes:
        one: first run folder, checkpoint or .npz of features.
        other: second run folder, checkpoint or .npz of features, with the same queries and gallery.
    """

    one: str = positional()
    other: str = positional()


main = command(CompareOptions, "reid.evaluation.comparison:compare_two")

if __name__ == "__main__":
    sys.exit(main())
