"""Starts the missing runs of a grid as processes."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from engine.errors import UserError

FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


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


@contextmanager
def signals_to(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle SIGTERM, SIGHUP and SIGINT inside the block; only the main thread may, elsewhere nothing changes.

    Args:
        handler: called with the number of the signal.
    """
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, handler) for number in FORWARDED} if is_main else {}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def run_all(commands: Mapping[Path, Sequence[str]], jobs: int) -> bool:
    """Run commands, some at the same time, with their output on stderr.

    SIGTERM, SIGHUP and SIGINT are forwarded to the commands that run and waited for; no further one starts.

    Args:
        commands: run folder -> command.
        jobs: number of commands at the same time.

    Returns:
        Whether any of them failed or was not started.
    """
    running: dict[Path, subprocess.Popen[bytes]] = {}
    received: list[int] = []

    def forward(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for process in list(running.values()):
            if process.poll() is None:
                process.send_signal(number)

    def run(folder: Path) -> int | None:
        if received:
            return None
        print(f"running {folder}", file=sys.stderr)
        running[folder] = subprocess.Popen(commands[folder], stdout=sys.stderr, start_new_session=True)
        for number in received:  # arrived while it was being started
            running[folder].send_signal(number)
        return running[folder].wait()

    with signals_to(forward), ThreadPoolExecutor(max(1, jobs)) as pool:
        futures = {folder: pool.submit(run, folder) for folder in commands}
        while not all(future.done() for future in futures.values()):
            time.sleep(0.1)  # a signal is handled between two bytecodes of this thread
    return _report({folder: future.result() for folder, future in futures.items()})


def _report(codes: Mapping[Path, int | None]) -> bool:
    """Name the runs that failed; return whether any failed or was not started."""
    for folder, code in codes.items():
        if code:
            print(f"failed with exit code {code}: {folder}", file=sys.stderr)
    return any(code != 0 for code in codes.values())
