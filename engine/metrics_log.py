"""Reads metrics.jsonl. Imports nothing heavy."""

import json
import statistics
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the metrics of a run; a line cut short by a crash is skipped.

    Args:
        folder: run folder.

    Returns:
        One dict per evaluated or finished epoch; an empty list if there is no file.
    """
    path = folder / METRICS
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def median_of_last(folder: Path, metric: str = "top1", count: int = 20) -> float | None:
    """Return the median of a metric over the last evaluations of a run.

    Args:
        folder: run folder.
        metric: name of the metric in metrics.jsonl.
        count: number of last evaluations to use.

    Returns:
        The median; None if nothing was evaluated.

    Source: Oliver et al., NeurIPS 2018, and the MixMatch family (median of the last 20 checkpoints).
    """
    values = [row[metric] for row in read_rows(folder) if row.get(metric) is not None]
    return statistics.median(values[-count:]) if values else None
