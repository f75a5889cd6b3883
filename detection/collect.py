"""``python -m detection.collect OUTPUT_DIR ...``: Table 11 from what train_net.py left behind.

A folder counts for the row that its config.yaml describes and the arm that its backbone was trained with (asked of
the converted file; ``plain=DIR`` says it where the file cannot). Runs of one row and arm are seeds: mean, standard
deviation and number. Runs that are not the full schedule, or have not finished, are shown and marked.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection.rows import BATCH, ROWS, SCHEDULE
from detection.table11.settings import OTHER, Settings, read_config, settings_of
from engine.errors import UserError, guard

PROG = "python -m detection.collect"
MADE = "keepaugment.json"  # what detection.run notes in an OUTPUT_DIR
METRIC = "bbox/AP"


@dataclass(frozen=True)
class CollectConfig:
    """Print Table 11 from OUTPUT_DIRs of train_net.py.

    Attributes:
        runs: the folders, or arm=folder.
        metric: column of metrics.json: bbox/AP, bbox/AP50, bbox/APs, ...
        form: how to print it: text, markdown, csv or json.
        out: also write that to a file.
    """

    runs: tuple[str, ...]
    metric: str = METRIC
    form: str = "text"
    out: str = ""


@dataclass(frozen=True)
class Run:
    """What one OUTPUT_DIR says.

    Attributes:
        folder: its name.
        row: short name, or "other".
        arm: plain, CutMix, KeepCutMix, ...
        value: the metric; NaN when nothing was detected.
        iteration: of the evaluation.
        settings: of its config.
        gpus: on which detection.run ran it; 0 is unknown.
    """

    folder: str
    row: str
    arm: str
    value: float
    iteration: int
    settings: Settings
    gpus: int = 0

    @property
    def expected(self) -> int:
        """Iterations to the end; 0 where Detectron2 scaled them to a number of GPUs that nobody noted."""
        meant = self.settings.gpus
        if not meant:
            return self.settings.iterations
        return round(self.settings.iterations * meant / self.gpus) if self.gpus else 0

    @property
    def remark(self) -> str:
        """Why the number is not one of Table 11; "" when it is."""
        if math.isnan(self.value):
            return "no detections (AP is NaN)"
        if self.settings.gpus and not self.gpus:
            return "the schedule was scaled to the number of GPUs, which is not known: has the run ended?"
        if self.iteration < self.expected - 1:
            return f"unfinished: iteration {self.iteration} of {self.expected}"
        images = self.settings.iterations * self.settings.batch
        if self.row != OTHER and images < SCHEDULE * BATCH:
            return (
                f"{self.settings.iterations} iterations of {self.settings.batch} instead of {SCHEDULE} of {BATCH}"
            )
        return ""


def read_run(text: str, metric: str = METRIC) -> Run:
    """Read one OUTPUT_DIR.

    Args:
        text: the folder, or arm=folder.
        metric: column of metrics.json.

    Raises:
        UserError: no folder of train_net.py, not evaluated yet, or no such metric.

    Source: detectron2/utils/events.py: one JSON object a line, in which NaN is allowed.
    """
    arm, folder = _named(text)
    rows = read_metrics(folder)
    evaluated = [row for row in rows if METRIC in row]
    if not evaluated:
        raise UserError(f"{folder}/metrics.json has no evaluation: has the run reached its end?")
    last = evaluated[-1]
    if metric not in last:
        known = ", ".join(key for key in last if key.startswith("bbox/") and "-" not in key)
        raise UserError(f"metric: no {metric!r} in {folder}/metrics.json, but {known}")
    known = folder / "config.yaml"
    found, note = settings_of(read_config(known)) if known.is_file() else Settings(), read_note(folder)
    value = last[metric]
    return Run(
        folder=folder.name,
        row=found.row,
        arm=arm or _arm_of(note, found.weights),
        value=math.nan if value is None else float(value),
        iteration=int(last.get("iteration", 0)),
        settings=found,
        gpus=int(note.get("gpus") or 0),
    )


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read train_net.py's metrics.json; a last line cut short by a crash is left out.

    Raises:
        UserError: no such file, or no JSON in it.

    Source: see :func:`read_run`.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        raise UserError(f"no {path}: give an OUTPUT_DIR of train_net.py")
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise UserError(f"{path}, line {number}: {error}") from error
            continue
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: no JSON object: {line[:40]}")
        rows.append(row)
    return rows


def read_note(folder: Path) -> dict[str, Any]:
    """Read what detection.run noted in an OUTPUT_DIR; {} where it noted nothing.

    Raises:
        UserError: the note is damaged.
    """
    path = folder / MADE
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no JSON: {error}") from error
    return found if isinstance(found, dict) else {}


def _arm_of(note: dict[str, Any], weights: str) -> str:
    """Ask detection.run's note, then the weights that the config names."""
    if note.get("arm"):
        return str(note["arm"])
    path = Path(weights)
    told = ""
    if path.suffix in (".pth", ".pkl") and path.is_file():
        from detection.checkpoints.write import read

        with contextlib.suppress(UserError):  # of another kind: its name must do
            told = str(read(path)[1].get("augment", ""))
    return told or path.stem or "random"


def mean_std(values: Sequence[float]) -> str:
    """Write ``40.70 ± 0.14 (3)``; one value without deviation; "-" for none.

    Example:
        >>> mean_std([40.0, 41.0])
        '40.50 ± 0.71 (2)'

    Source: elementary; the standard deviation is the sample's.
    """
    if not values:
        return "-"
    mean = statistics.fmean(values)
    return f"{mean:.2f} ± {statistics.stdev(values):.2f} ({len(values)})" if len(values) > 1 else f"{mean:.2f}"


def arms_of(runs: Sequence[Run]) -> list[str]:
    """List the arms, plain first."""
    return sorted({run.arm for run in runs}, key=lambda arm: (arm != "plain", "Keep" in arm, arm))


def tabulate(runs: Sequence[Run], metric: str = METRIC) -> tuple[list[str], list[list[str]]]:
    """Lay the table out.

    Args:
        runs: from :func:`read_run`.
        metric: the paper's columns are box AP and stay empty for any other.

    Returns:
        Header and lines: a row of the paper each, then runs of other configs. A ``*`` marks numbers that are not
        those of the full schedule.

    Source: Table 11; detectron2's MODEL_ZOO.md.
    """
    arms = arms_of(runs)
    header = [
        f"row, {metric}",
        "paper: baseline",
        "zoo today",
        "paper: KeepCutMix",
        *(f"ours: {arm}" for arm in arms),
    ]
    lines = []
    for name in [*ROWS, *([OTHER] if any(run.row == OTHER for run in runs) else [])]:
        row = ROWS.get(name)
        known = row is not None and metric == METRIC
        line = [row.title, *(f"{v:.1f}" for v in (row.paper, row.zoo, row.keep))] if row and known else []
        line = line or [row.title if row else OTHER, "-", "-", "-"]
        for arm in arms:
            found = [run for run in runs if (run.row, run.arm) == (name, arm)]
            text = mean_std([run.value for run in found if not math.isnan(run.value)])
            line.append(text + "*" * any(run.remark for run in found))
        lines.append(line)
    return header, lines


def remarks(runs: Sequence[Run]) -> list[str]:
    """List what a reader must know about single runs.

    Source: elementary; for beta, detectron2's commit that changed RetinaNet's loss after the paper's baseline.
    """
    found = [f"* {run.folder}: {run.remark}" for run in runs if run.remark]
    found += [
        f"{run.folder}: SMOOTH_L1_LOSS_BETA {run.settings.beta}, that of the paper's baseline; today's zoo has 0.0"
        for run in runs
        if run.settings.beta
    ]
    return found


def _text(header: list[str], lines: list[list[str]], notes: list[str], runs: Sequence[Run]) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Table 11")
    for name in header:
        table.add_column(name)
    for line in lines:
        table.add_row(*line)
    console = Console(file=io.StringIO(), width=max(100, 24 * len(header)))
    console.print(table)
    return "\n".join([str(console.file.getvalue()).rstrip(), *notes])  # type: ignore[attr-defined]


def _markdown(header: list[str], lines: list[list[str]], notes: list[str], runs: Sequence[Run]) -> str:
    table = [header, ["---"] * len(header), *lines]
    text = "\n".join(f"| {' | '.join(cell.replace('*', chr(92) + '*') for cell in line)} |" for line in table)
    return "\n".join([text, *(["", *(f"- {note.lstrip('* ')}" for note in notes)] if notes else [])])


def _csv(header: list[str], lines: list[list[str]], notes: list[str], runs: Sequence[Run]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *lines])
    return text.getvalue().rstrip()


def _json(header: list[str], lines: list[list[str]], notes: list[str], runs: Sequence[Run]) -> str:
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


def collect(config: CollectConfig) -> str:
    """Read the runs and write the table.

    Args:
        config: of the command.

    Raises:
        UserError: unknown form, or a folder that is none of train_net.py's.
    """
    from engine.errors import nearest

    if config.form not in FORMS:
        raise UserError(f"form: no {config.form!r}{nearest(config.form, FORMS)}: one of {', '.join(FORMS)}")
    runs = [read_run(text, config.metric) for text in _once(config.runs)]
    text = FORMS[config.form](*tabulate(runs, config.metric), remarks(runs), runs)
    if config.out:
        from engine.checkpoint import replacing

        with replacing(Path(config.out)) as file:
            file.write((text + "\n").encode())
    return text


def _once(texts: Sequence[str]) -> list[str]:
    """Leave out folders that are named again."""
    found: dict[Path, str] = {}
    for text in texts:
        found.setdefault(_named(text)[1].resolve(), text)
    return list(found.values())


def _named(text: str) -> tuple[str, Path]:
    """Part arm=folder; a folder's own name may hold a "=" too."""
    arm, equals, rest = text.partition("=")
    return ("", Path(text)) if Path(text).is_dir() or not equals else (arm, Path(rest))


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and collect; returns the exit code."""

    def command() -> None:
        from detection.options import name_runs
        from engine.command import parse

        print(collect(parse(CollectConfig, name_runs(argv), prog=PROG, description=str(__doc__))))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
