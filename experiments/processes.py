"""Starts the missing runs of a grid as processes."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from engine.errors import UserError


def parse_seeds(text: str, default: int) -> list[int]:
    """Parse ``0-4`` or ``0,2``; "" means 0 to ``default`` - 1.

    Raises:
        UserError: the text is neither a range nor a list.
    """
    if not text:
        return list(range(default))
    try:
        ends = [[int(end) for end in part.split("-", 1)] for part in text.split(",")]
        seeds = sorted({seed for part in ends for seed in range(part[0], min(part[-1], part[0] + 999) + 1)})
    except ValueError as error:
        raise UserError(f"seeds must look like 0-4 or 0,2, got {text!r}") from error
    if not seeds:
        raise UserError(f"seeds must look like 0-4 or 0,2, got {text!r}")
    return seeds


def run_all(commands: Mapping[Path, Sequence[str]], jobs: int) -> bool:
    """Run commands, some at the same time, with their output on stderr.

    Args:
        commands: run folder -> command.
        jobs: number of commands at the same time.

    Returns:
        Whether any of them failed.
    """

    def run(folder: Path) -> int:
        print(f"running {folder}", file=sys.stderr)
        return subprocess.run(commands[folder], check=False, stdout=sys.stderr).returncode

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        codes = list(pool.map(run, commands))
    for folder, code in zip(commands, codes, strict=True):
        if code:
            print(f"failed with exit code {code}: {folder}", file=sys.stderr)
    return any(codes)
