"""Detectron2's overrides at the end of a command line: ``... MODEL.WEIGHTS r50.pth SOLVER.MAX_ITER 100``."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from engine.command import underscored
from engine.errors import UserError

SWITCHES = ("--resume", "--quick", "--eval_only")


def split_options(argv: Sequence[str] | None, *, positional: int = 0) -> tuple[list[str], list[str]]:
    """Part our flags from Detectron2's overrides.

    Args:
        argv: arguments; None: those of the process.
        positional: how many words at the front may be given without a flag.

    Returns:
        Our flags, with ``--num-gpus`` spelt ``--num_gpus``; and the overrides: everything from the first word on
        that belongs to no flag. They are KEY VALUE pairs, or key=value for a LazyConfig.

    Raises:
        UserError: a KEY without a value.

    Source: detectron2/engine/defaults.py, whose parser takes the overrides as its remainder.

    Example:
        >>> split_options(["--num-gpus", "2", "SOLVER.MAX_ITER", "100"])
        (['--num_gpus', '2'], ['SOLVER.MAX_ITER', '100'])
    """
    words = [underscored(word) for word in (sys.argv[1:] if argv is None else argv)]
    at = 0
    while at < min(positional, len(words)) and not words[at].startswith("-"):
        at += 1
    while at < len(words) and words[at].startswith("-"):
        alone = "=" in words[at] or words[at] in (*SWITCHES, "-h", "--help")
        if words[at] in SWITCHES and words[at + 1 : at + 2] in (["true"], ["false"]):
            alone = False
        at += 1 if alone else 2
    ours, theirs = words[:at], words[at:]
    if theirs and "=" not in theirs[0] and len(theirs) % 2:
        raise UserError(f"overrides come as KEY VALUE, and {theirs[-1]!r} is one too many: {' '.join(theirs)}")
    return ours, theirs


def get_option(options: Sequence[str], key: str) -> str | None:
    """Look a KEY up among the overrides; the last one wins."""
    found = [value for name, value in zip(options[::2], options[1::2], strict=False) if name == key]
    return found[-1] if found else None


def name_runs(argv: Sequence[str] | None) -> list[str]:
    """Let the folders at the front be given without a flag: ``A B --out F`` means ``--runs [A, B] --out F``."""
    words = list(sys.argv[1:] if argv is None else argv)
    count = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    return [f"--runs={json.dumps(words[:count])}"] * bool(count) + words[count:]
