"""Means over seeds and paired differences, as printed in tables."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scipy import stats


class Difference(NamedTuple):
    """A mean difference, paired by seed.

    Attributes:
        mean: of the differences.
        low: lower end of the 95 % interval; None with fewer than two pairs.
        high: upper end.
        seeds: number of pairs.
    """

    mean: float
    low: float | None
    high: float | None
    seeds: int

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:+.2f}"
        return f"{self.mean:+.2f} [{self.low:+.2f}, {self.high:+.2f}]"


def paired_difference(one: Mapping[int, float], other: Mapping[int, float]) -> Difference | None:
    """Compare two methods on the seeds that both have.

    Args:
        one: seed -> number.
        other: the same of the method that is subtracted.

    Returns:
        The mean difference with its 95 % interval (Student's t); None if they share no seed.

    Example:
        >>> print(paired_difference({0: 95.0, 1: 96.0, 2: 97.0}, {0: 94.0, 1: 95.5, 2: 96.0, 3: 90.0}))
        +0.83 [+0.12, +1.55]
    """
    differences = [one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())]
    if not differences:
        return None
    mean, count = statistics.fmean(differences), len(differences)
    if count < 2:
        return Difference(mean, None, None, count)
    half = float(stats.t.ppf(0.975, count - 1)) * statistics.stdev(differences) / count**0.5
    return Difference(mean, mean - half, mean + half, count)


def mean_std(values: Sequence[float], *, count: bool = False) -> str:
    """Format mean and sample standard deviation; "-" if there are no values.

    Args:
        values: one per seed.
        count: whether to add the number of values.

    Example:
        >>> mean_std([95.0, 96.0]), mean_std([95.0]), mean_std([40.0, 41.0], count=True)
        ('95.50 ± 0.71', '95.00', '40.50 ± 0.71 (2)')
    """
    if not values:
        return "-"
    mean = f"{statistics.fmean(values):.2f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(values):.2f}" + f" ({len(values)})" * count
