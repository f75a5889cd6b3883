"""Numbers out of range are told by the name of their option. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

from engine.errors import UserError


def within(config: Any, prefix: str = "", **limits: tuple[float, float | None]) -> None:
    """Check that fields of a config are in their ranges.

    Args:
        config: with the fields.
        prefix: of their names on the command line, e.g. ``"data."``.
        limits: field -> (smallest, largest); None: no largest.

    Raises:
        UserError: one is not, or is no number (NaN).

    Example:
        >>> from engine.config import Run
        >>> within(Run(), epochs=(1, None), ema_decay=(0, 1))
    """
    for name, (low, high) in limits.items():
        value = getattr(config, name)
        if high is None and not value >= low:
            raise UserError(f"{prefix}{name} must be at least {low:g}, got {value}")
        if high is not None and not low <= value <= high:
            raise UserError(f"{prefix}{name} must be in [{low:g}, {high:g}], got {value}")
