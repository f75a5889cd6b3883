"""One progress line with ETA on a terminal; one line per epoch everywhere."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

T = TypeVar("T")
_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())


class Throughput:
    """Count images and the time spent waiting for them."""

    def __init__(self) -> None:
        self.start, self.waited, self.images = time.perf_counter(), 0.0, 0

    def timed(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the batches, adding up how long each took to come."""
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
        total: steps of the run.
        done: steps already taken.
        shows: whether this process talks.

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
        """Print a line that stays."""
        self.console.print(text, highlight=False, soft_wrap=True)


def tracked(items: Sequence[T], title: str) -> Iterator[T]:
    """Go through items with a bar and an ETA on stderr; silent where nobody watches.

    Args:
        items: to go through.
        title: of the bar.

    Source: rich.
    """
    console = Console(stderr=True)
    with Progress(*_COLUMNS, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield from bar.track(items, description=title)


def with_share(title: str, work: Callable[[Callable[[float], None]], T]) -> T:
    """Do work that tells the share it has done, under a bar that appears with its first word.

    Args:
        title: of the bar.
        work: takes a function to call with shares in [0, 1].

    Returns:
        What the work returns.

    Source: rich.
    """
    console = Console(stderr=True)
    with Progress(*_COLUMNS, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=1.0, visible=False)
        return work(lambda share: bar.update(task, completed=share, visible=True))
