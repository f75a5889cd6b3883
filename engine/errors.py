"""Mistakes that the user can correct are reported in one line, with exit code 2."""

import difflib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

TRACEBACK = "KEEPAUGMENT_TRACEBACK"


class UserError(ValueError):
    """A mistake that the user can correct; its one-line message states what is wrong, where, and what to do."""


def nearest(name: str, names: Iterable[str], prefix: str = "", full: Mapping[str, str] | None = None) -> str:
    """Return ``" (did you mean 'x'?)"``, or ``""`` when no known name is similar.

    Args:
        name: name as given.
        names: valid names.
        prefix: written before the suggestion instead of quotation marks, e.g. ``"--"``.
        full: valid name -> the name to suggest.
    """
    close = difflib.get_close_matches(name, list(names), n=1)
    if not close:
        return ""
    suggestion = (full or {}).get(close[0], close[0])
    return f" (did you mean {prefix + suggestion if prefix else repr(suggestion)}?)"


def guard(main: Callable[[], int | None]) -> int:
    """Run a command; report errors that the user can correct in one line on stderr, with exit code 2.

    Those are :class:`UserError` and ``OSError``. Set ``KEEPAUGMENT_TRACEBACK=1`` to see where one comes from. Any
    other exception is a bug and keeps its traceback.

    Args:
        main: the command; returns an exit code or None.

    Returns:
        The exit code: 0, 2 for a user error, 130 after Ctrl-C, 141 if the output pipe was closed.
    """
    try:
        return main() or 0
    except SystemExit as stop:  # --help, --version
        if not isinstance(stop.code, int | None):
            raise
        return stop.code or 0
    except KeyboardInterrupt:
        print("interrupted; use --resume to continue a training run from its last checkpoint", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the output pipe was closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (UserError, OSError) as error:
        if os.environ.get(TRACEBACK):
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2


@contextmanager
def as_user_error(where: str = "") -> Iterator[None]:
    """Turn a library's ``ValueError`` into a :class:`UserError`, where it is called with user options.

    Args:
        where: what the options belong to, e.g. ``"augment"``; written before the message.

    Raises:
        UserError: the block raised a ``ValueError``.
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"{where}: {one_line(error)}" if where else one_line(error)) from error


def check_ranges(config: Any, prefix: str = "", **limits: tuple[float, float | None]) -> None:
    """Check that fields of a config are within their ranges.

    Args:
        config: object with the fields.
        prefix: prefix of their names on the command line, e.g. ``"data."``.
        limits: field -> (smallest, largest); None means no upper limit.

    Raises:
        UserError: a field is out of range or NaN.

    Example:
        >>> from engine.config import TrainingConfig
        >>> check_ranges(TrainingConfig(), epochs=(1, None), ema_decay=(0, 1))
    """
    for name, (low, high) in limits.items():
        value = getattr(config, name)
        if high is None and not value >= low:
            raise UserError(f"{prefix}{name} must be at least {low:g}, got {value}")
        if high is not None and not low <= value <= high:
            raise UserError(f"{prefix}{name} must be in [{low:g}, {high:g}], got {value}")


def check_choices(config: Any, prefix: str = "") -> None:
    """Check that fields with a ``Literal`` type hold one of its values, as the command line does.

    Args:
        config: a dataclass; nested ones are checked too.
        prefix: prefix of the fields' names on the command line, e.g. ``"data."``.

    Raises:
        UserError: a field holds a value that its type does not allow.
    """
    hints = get_type_hints(type(config))
    for field in fields(config):
        value, choices = getattr(config, field.name), get_args(hints[field.name])
        if is_dataclass(value):
            check_choices(value, f"{prefix}{field.name}.")
        elif get_origin(hints[field.name]) is Literal and value not in choices:
            listed = ", ".join(map(str, choices))
            raise UserError(f"{prefix}{field.name} must be one of {listed}, got {value!r}")


def one_line(error: BaseException | str) -> str:
    """Return an exception's message as one line; of a data worker's traceback, only the last line."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    if lines[0].startswith("Caught ") and "worker" in lines[0]:
        return lines[-1].split(": ", 1)[-1]
    return " ".join(lines)
