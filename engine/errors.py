"""What a user can mend is told in one line, with exit code 2."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterable

TRACEBACK = "KEEPAUGMENT_TRACEBACK"


class UserError(ValueError):
    """Something the user can mend: says what, where and what to do, in one line."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Give ``" (did you mean 'x'?)"``, or ``""`` when nothing is near."""
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def guard(main: Callable[[], int | None]) -> int:
    """Run a command; turn errors a user can mend into one line on stderr and exit code 2.

    ``ValueError`` and ``OSError`` are such errors throughout the suite. Set ``KEEPAUGMENT_TRACEBACK=1`` to see
    where they came from. Anything else is a bug and keeps its traceback.

    Args:
        main: the command; returns an exit code or None.

    Returns:
        The exit code: 0, 2 for a user's error, 130 after Ctrl-C, 141 when the output's reader has gone.
    """
    try:
        return main() or 0
    except KeyboardInterrupt:
        print("interrupted; a training goes on from its last checkpoint with --resume", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (ValueError, OSError) as error:
        if os.environ.get(TRACEBACK):
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2


def one_line(error: BaseException) -> str:
    """Boil an exception down to its message; a data worker's traceback to its last line."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0].startswith("Caught ") and "worker" in lines[0]:
        return lines[-1].split(": ", 1)[-1]
    return " ".join(lines)
