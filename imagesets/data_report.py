"""The report on a checked data set."""

from typing import NamedTuple


class DataReport(NamedTuple):
    """The contents of a data set, and the problems found in it.

    Attributes:
        contents: one line per part.
        problems: one line per kind of problem; empty for a sound data set.
    """

    contents: list[str]
    problems: list[str]

    def show(self) -> int:
        """Print the report; return the exit code of a check: 1 if there is a problem."""
        print("\n".join([*self.contents, *(f"WRONG: {problem}" for problem in self.problems)]))
        return int(bool(self.problems))
