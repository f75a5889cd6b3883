"""Detectron2's overrides at the end of a command line: ``... MODEL.WEIGHTS r50.pth SOLVER.MAX_ITER 100``."""

from collections.abc import Sequence

from engine.errors import UserError


def check_overrides(overrides: Sequence[str]) -> None:
    """Check that overrides are KEY VALUE pairs, or key=value for a LazyConfig.

    Raises:
        UserError: a KEY without a value.

    Source: detectron2/engine/defaults.py, whose parser takes the overrides as its remainder.
    """
    if overrides and "=" not in overrides[0] and len(overrides) % 2:
        text = " ".join(overrides)
        raise UserError(f"overrides come as KEY VALUE pairs, and {overrides[-1]!r} is one too many: {text}")


def get_option(overrides: Sequence[str], key: str) -> str | None:
    """Look a KEY up among the overrides; the last one wins."""
    values = [value for name, value in zip(overrides[::2], overrides[1::2], strict=False) if name == key]
    return values[-1] if values else None
