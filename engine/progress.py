"""A progress line with an ETA on terminals, and one line per epoch everywhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())


class Throughput:
    """Counts images and the time spent waiting for them."""

    def __init__(self) -> None:
        self.start, self.waited, self.images = time.perf_counter(), 0.0, 0

    def timed(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the batches, adding up the time spent waiting for each."""
        iterator = iter(batches)
        while True:
            begin = time.perf_counter()
            try:
                batch = next(iterator)
            except StopIteration:
                return
            self.waited += time.perf_counter() - begin
            yield batch

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.perf_counter() - self.start

    @property
    def images_per_second(self) -> float:
        """Throughput of this process."""
        return self.images / max(self.seconds, 1e-9)

    @property
    def wait_share(self) -> float:
        """Share of the time spent waiting for data, in [0, 1]."""
        return self.waited / max(self.seconds, 1e-9)


class ProgressLine:
    """The progress line of a whole run, on the main process.

    Args:
        total: number of steps of the run.
        completed: number of steps already taken.
        shows: whether this process prints.

    Source: rich.
    """

    def __init__(self, total: int, completed: int, *, shows: bool) -> None:
        self.console = Console(stderr=True, quiet=not shows)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps, ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=self.console,
            disable=not (shows and sys.stderr.isatty()),
            transient=True,
        )
        self.task = self.progress.add_task("training", total=total, completed=completed, text="")

    def __enter__(self) -> Self:
        self.progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.progress.stop()

    def step(self, text: str | None = None) -> None:
        """Advance by one step; ``text`` replaces the numbers at the end of the line."""
        self.progress.advance(self.task)
        if text is not None:
            self.progress.update(self.task, text=text)

    def say(self, text: str) -> None:
        """Print a permanent line."""
        self.console.print(text, highlight=False, soft_wrap=True)


def print_remarks(remarks: Iterable[str]) -> None:
    """Print what the user should know, one line each, on stderr; empty remarks are left out."""
    for remark in filter(None, remarks):
        print(f"remark: {remark}", file=sys.stderr)


def tracked(items: Iterable[T], title: str, total: int | None = None) -> Iterator[T]:
    """Iterate over items with a progress bar and an ETA on stderr; silent if stderr is not a terminal.

    Args:
        items: items to iterate over.
        title: title of the bar.
        total: number of items, if they have no length.

    Source: rich.
    """
    console = Console(stderr=True)
    with Progress(*_COLUMNS, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield from bar.track(items, total, description=title)


def with_share(title: str, work: Callable[[Callable[[float], None]], T]) -> T:
    """Run work that reports its progress, under a bar that appears at the first report.

    Args:
        title: title of the bar.
        work: function that takes a callback for the completed share, in [0, 1].

    Returns:
        The result of ``work``.

    Source: rich.
    """
    console = Console(stderr=True)
    with Progress(*_COLUMNS, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=1.0, visible=False)
        return work(lambda share: bar.update(task, completed=share, visible=True))
