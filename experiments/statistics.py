"""Means over seeds, as printed in tables."""

import statistics
from collections.abc import Sequence


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
