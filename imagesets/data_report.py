"""What a look through a data set found."""

from typing import NamedTuple


class DataReport(NamedTuple):
    """What a data set holds, and what is wrong with it.

    Attributes:
        contents: one line per part.
        problems: one line per kind of problem; empty for a sound data set.
    """

    contents: list[str]
    problems: list[str]

    def show(self) -> int:
        """Print the report; return the exit code of a check: 1 where there is a problem."""
        print("\n".join([*self.contents, *(f"WRONG: {problem}" for problem in self.problems)]))
        return int(bool(self.problems))
