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
from typing import Any, NamedTuple

from detection.rows import ROWS, SCHEDULE
from keepcore.run.errors import UserError, guard

PROG = "python -m detection.collect"
MADE = "keepaugment.json"  # what detection.run notes in an OUTPUT_DIR
METRIC = "bbox/AP"
OTHER = "other"  # runs of configs that are no row


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
        iterations: of the schedule.
        beta: RetinaNet's SMOOTH_L1_LOSS_BETA, or None.
    """

    folder: str
    row: str
    arm: str
    value: float
    iteration: int
    iterations: int
    beta: float | None = None

    @property
    def remark(self) -> str:
        """Why the number is not one of Table 11; "" when it is."""
        if math.isnan(self.value):
            return "no detections (AP is NaN)"
        if self.iteration < self.iterations - 1:
            return f"unfinished: iteration {self.iteration} of {self.iterations}"
        if self.row != OTHER and self.iterations < SCHEDULE:
            return f"{self.iterations} iterations instead of {SCHEDULE}"
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
    arm, _, path = text.rpartition("=")
    folder = Path(path)
    rows = read_metrics(folder)
    evaluated = [row for row in rows if METRIC in row]
    if not evaluated:
        raise UserError(f"{folder}/metrics.json has no evaluation: has the run reached its end?")
    last = evaluated[-1]
    if metric not in last:
        known = ", ".join(key for key in last if key.startswith("bbox/") and "-" not in key)
        raise UserError(f"metric: no {metric!r} in {folder}/metrics.json, but {known}")
    found = _settings(folder)
    return Run(
        folder=folder.name,
        row=found.row,
        arm=arm or _arm_of(folder, found.weights),
        value=float(last[metric]),
        iteration=int(last.get("iteration", 0)),
        iterations=found.iterations,
        beta=found.beta,
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
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise UserError(f"{path}, line {number}: {error}") from error
    return rows


class _Settings(NamedTuple):
    row: str = OTHER
    iterations: int = 0
    beta: float | None = None
    weights: str = ""


def _settings(folder: Path) -> _Settings:
    """Read which row a folder's config describes, how long it trains, and from what."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Leaves out the Python objects that a LazyConfig's dump names."""

    Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: None)  # type: ignore
    try:
        cfg = yaml.load((folder / "config.yaml").read_text(), Loader)
        return _of_yaml(cfg) if "MODEL" in cfg else _of_lazy(cfg)
    except (OSError, yaml.YAMLError, KeyError, TypeError):
        return _Settings()


def _of_yaml(cfg: dict[str, Any]) -> _Settings:
    model = cfg["MODEL"]
    retina = model["META_ARCHITECTURE"] == "RetinaNet"
    kind = "retinanet" if retina else "fpn" if "fpn" in model["BACKBONE"]["NAME"] else "c4"
    beta = float(model["RETINANET"]["SMOOTH_L1_LOSS_BETA"]) if retina else None
    return _Settings(_row(kind, model["RESNETS"]["DEPTH"]), int(cfg["SOLVER"]["MAX_ITER"]), beta, model["WEIGHTS"])


def _of_lazy(cfg: dict[str, Any]) -> _Settings:
    model, train = cfg["model"], cfg["train"]
    retina, resnet = model["_target_"].endswith("RetinaNet"), model["backbone"].get("bottom_up")
    kind = "retinanet" if retina else "fpn" if resnet else "c4"
    resnet = resnet or model["backbone"]
    beta = float(model.get("smooth_l1_beta", 0.0)) if retina else None
    depth = resnet.get("stages", {}).get("depth")  # a TimmBackbone has none, and is no row
    weights = resnet.get("checkpoint") or train["init_checkpoint"]
    return _Settings(_row(kind, depth), int(train["max_iter"]), beta, weights)


def _row(kind: str, depth: Any) -> str:
    return f"{kind}_r{depth}" if f"{kind}_r{depth}" in ROWS else OTHER


def _arm_of(folder: Path, weights: str) -> str:
    """Ask detection.run's note, then the weights that the config names."""
    if (folder / MADE).is_file():
        return str(json.loads((folder / MADE).read_text())["arm"])
    path = Path(weights)
    told = ""
    if path.suffix in (".pth", ".pkl") and path.is_file():
        from detection.write import read

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
    """List the arms, plain first.

    Source: elementary.
    """
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
        f"{run.folder}: SMOOTH_L1_LOSS_BETA {run.beta}, that of the paper's baseline; the zoo today has 0.0"
        for run in runs
        if run.beta
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
                "iterations": run.iterations,
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

    Source: elementary.
    """
    from keepcore.run.errors import nearest

    if config.form not in FORMS:
        raise UserError(f"form: no {config.form!r}{nearest(config.form, FORMS)}: one of {', '.join(FORMS)}")
    runs = [read_run(text, config.metric) for text in config.runs]
    text = FORMS[config.form](*tabulate(runs, config.metric), remarks(runs), runs)
    if config.out:
        from keepcore.run.checkpoint import replacing

        with replacing(Path(config.out)) as file:
            file.write((text + "\n").encode())
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and collect; returns the exit code."""

    def command() -> None:
        from detection.options import name_runs
        from keepcore.run.cli import parse

        print(collect(parse(CollectConfig, name_runs(argv), prog=PROG, description=str(__doc__))))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
