"""Reading metrics.jsonl. Imports nothing heavy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

METRICS = "metrics.jsonl"


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Read the metrics of a run; a line cut short by a crash is left out.

    Args:
        folder: of the run.

    Returns:
        One dict per evaluated or finished epoch; none where there is no file.

    Source: elementary.
    """
    path = folder / METRICS
    lines = path.read_text().splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]
