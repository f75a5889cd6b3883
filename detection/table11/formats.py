"""Table 11 as text, Markdown, CSV and JSON."""

import csv
import io
import json
import math
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from detection.table11.outputs import DetectorRun
from detection.table11.rows import ROWS
from detection.table11.settings import OTHER


def _text(header: list[str], lines: list[list[str]], notes: list[str], runs: Sequence[DetectorRun]) -> str:
    table = Table(title="Table 11")
    for name in header:
        table.add_column(name)
    for line in lines:
        table.add_row(*line)
    console = Console(file=io.StringIO(), width=max(100, 24 * len(header)))
    console.print(table)
    return "\n".join([str(console.file.getvalue()).rstrip(), *notes])  # type: ignore[attr-defined]


def _markdown(header: list[str], lines: list[list[str]], notes: list[str], runs: Sequence[DetectorRun]) -> str:
    table = [header, ["---"] * len(header), *lines]
    text = "\n".join(f"| {' | '.join(cell.replace('*', chr(92) + '*') for cell in line)} |" for line in table)
    return "\n".join([text, *(["", *(f"- {note.lstrip('* ')}" for note in notes)] if notes else [])])


def _csv(header: list[str], lines: list[list[str]], notes: list[str], runs: Sequence[DetectorRun]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *lines])
    return text.getvalue().rstrip()


def _json(header: list[str], lines: list[list[str]], notes: list[str], runs: Sequence[DetectorRun]) -> str:
    rows = []
    for name in [*ROWS, OTHER]:
        row = ROWS.get(name)
        paper = {"paper": row.paper, "zoo": row.zoo, "paper_keepcutmix": row.keep} if row else {}
        ours = [
            {
                "folder": run.folder,
                "arm": run.arm,
                "value": None if math.isnan(run.value) else run.value,
                "iteration": run.iteration,
                "iterations": run.expected,
                "remark": run.remark,
            }
            for run in runs
            if run.row == name
        ]
        rows.append({"row": name, **paper, "runs": ours})
    return json.dumps(rows, indent=1, allow_nan=False)


FORMS = {"text": _text, "markdown": _markdown, "csv": _csv, "json": _json}
