"""Detectron2's overrides at the end of a command line: ``... MODEL.WEIGHTS r50.pth SOLVER.MAX_ITER 100``."""

from collections.abc import Sequence

from engine.errors import UserError


def check_overrides(overrides: Sequence[str]) -> None:
    """Check that overrides are KEY VALUE pairs, or key=value for a LazyConfig.

    Raises:
        UserError: a KEY has no value.

    Source: detectron2/engine/defaults.py, whose parser collects the overrides in its remainder.
    """
    if overrides and "=" not in overrides[0] and len(overrides) % 2:
        text = " ".join(overrides)
        raise UserError(f"overrides must be KEY VALUE pairs, but {overrides[-1]!r} has no value: {text}")


def get_option(overrides: Sequence[str], key: str) -> str | None:
    """Return the value of a KEY among the overrides (the last one if it is repeated), or None."""
    values = [value for name, value in zip(overrides[::2], overrides[1::2], strict=False) if name == key]
    return values[-1] if values else None
