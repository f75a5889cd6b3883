"""Detectron2's overrides at the end of a command line: ``... MODEL.WEIGHTS r50.pth SOLVER.MAX_ITER 100``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence

from keepcore.run.errors import UserError

_KEY = re.compile(
    r"(SEED|OUTPUT_DIR|CUDNN_BENCHMARK|FLOAT32_PRECISION|VIS_PERIOD|VERSION|[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)+)"
)
_ASSIGNMENT = re.compile(r"[~+]?[a-z_]+(\.\w+)*=.*")


def split_options(argv: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Part our flags from Detectron2's overrides.

    Args:
        argv: arguments; None: those of the process.

    Returns:
        Our flags, with ``--num-gpus`` spelt ``--num_gpus``; and the overrides: from the first KEY (YAML config) or
        key=value (LazyConfig) on.

    Raises:
        UserError: a KEY without a value.

    Source: detectron2/engine/defaults.py, whose parser takes the overrides as its remainder.

    Example:
        >>> split_options(["--num-gpus", "2", "SOLVER.MAX_ITER", "100"])
        (['--num_gpus', '2'], ['SOLVER.MAX_ITER', '100'])
    """
    words = list(sys.argv[1:] if argv is None else argv)
    first = next((i for i, word in enumerate(words) if _begins(words, i, word)), len(words))
    ours, theirs = words[:first], words[first:]
    if theirs and _KEY.fullmatch(theirs[0]) and len(theirs) % 2:
        raise UserError(f"overrides come as KEY VALUE, and {theirs[-1]!r} is one too many: {' '.join(theirs)}")
    return [_underscored(word) for word in ours], theirs


def get_option(options: Sequence[str], key: str) -> str | None:
    """Look a KEY up among the overrides; the last one wins.

    Source: elementary.
    """
    found = [value for name, value in zip(options[::2], options[1::2], strict=False) if name == key]
    return found[-1] if found else None


def name_runs(argv: Sequence[str] | None) -> list[str]:
    """Let the folders at the front be given without a flag: ``A B --out F`` means ``--runs [A, B] --out F``.

    Source: elementary.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    count = next((i for i, word in enumerate(words) if word.startswith("-")), len(words))
    return [f"--runs={json.dumps(words[:count])}"] * bool(count) + words[count:]


def _begins(words: list[str], index: int, word: str) -> bool:
    if _KEY.fullmatch(word):
        return index == 0 or not (words[index - 1].startswith("--") and "." not in word)
    return bool(_ASSIGNMENT.fullmatch(word))


def _underscored(word: str) -> str:
    name, equals, value = word.partition("=")
    return name[:2] + name[2:].replace("-", "_") + equals + value if word.startswith("--") else word
