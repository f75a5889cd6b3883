"""Builds Table 11 from OUTPUT_DIRs, for ``python -m detection.collect``."""

import math
from collections.abc import Sequence
from pathlib import Path

from detection.collect import CollectOptions
from detection.table11.formats import FORMS
from detection.table11.outputs import METRIC, DetectorRun, read_run, split_arm
from detection.table11.rows import ROWS
from detection.table11.settings import OTHER
from engine.files import check_targets, replacing
from experiments.statistics import mean_std


def collect(options: CollectOptions) -> str:
    """Read the runs, print the table, and write it if requested.

    Raises:
        UserError: a folder is not an OUTPUT_DIR of train_net.py.
    """
    check_targets(options.out)
    runs = [read_run(text, options.metric) for text in _once(options.runs)]
    text = FORMS[options.form](*tabulate(runs, options.metric), remarks(runs), runs)
    if options.out:
        with replacing(Path(options.out)) as file:
            file.write((text + "\n").encode())
    print(text)
    return text


def _once(texts: Sequence[str]) -> list[str]:
    """Drop folders that are given more than once."""
    unique: dict[Path, str] = {}
    for text in texts:
        unique.setdefault(split_arm(text)[1].resolve(), text)
    return list(unique.values())


def arms_of(runs: Sequence[DetectorRun]) -> list[str]:
    """Return the names of the arms, plain first."""
    return sorted({run.arm for run in runs}, key=lambda arm: (arm != "plain", "Keep" in arm, arm))


def tabulate(runs: Sequence[DetectorRun], metric: str = METRIC) -> tuple[list[str], list[list[str]]]:
    """Build the table.

    Args:
        runs: from :func:`read_run`.
        metric: name of the metric; the paper's columns are filled only for box AP.

    Returns:
        Header and lines: one per row of the paper, then one for each other config. A ``*`` marks numbers that are
        not of the full schedule.

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
    for name in dict.fromkeys([*ROWS, *(run.group for run in runs)]):
        row = ROWS.get(name)
        mine = [run for run in runs if run.group == name]
        published = row is not None and metric == METRIC
        line = [row.title, *(f"{v:.1f}" for v in (row.paper, row.zoo, row.keep))] if row and published else []
        line = line or [row.title if row else f"{OTHER}: {mine[0].folder}", "-", "-", "-"]
        lines.append([*line, *(_cell([run for run in mine if run.arm == arm]) for arm in arms)])
    return header, lines


def _cell(runs: Sequence[DetectorRun]) -> str:
    """Average the seeds of like runs; runs with different configs or lengths stand beside one another."""
    texts = []
    for signature in dict.fromkeys(run.signature for run in runs):
        seeds = [run for run in runs if run.signature == signature]
        text = mean_std([run.value for run in seeds if not math.isnan(run.value)], count=True)
        texts.append(text + "*" * any(run.remark for run in seeds))
    return "; ".join(texts) or "-"


def remarks(runs: Sequence[DetectorRun]) -> list[str]:
    """Return remarks that qualify the numbers of individual runs.

    Source: for beta, the detectron2 commit that changed RetinaNet's loss after the paper's baseline.
    """
    notes = [f"* {run.folder}: {run.remark}" for run in runs if run.remark]
    notes += [
        f"{run.folder}: SMOOTH_L1_LOSS_BETA {run.settings.beta}, as in the paper's baseline; today's zoo uses 0.0"
        for run in runs
        if run.settings.beta
    ]
    return notes
