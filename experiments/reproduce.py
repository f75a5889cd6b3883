"""Run the missing cells of a table, and print our numbers beside the paper's.

Finished runs are not repeated; interrupted runs continue.
"""

import importlib
import json
import shlex
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from engine.errors import UserError
from engine.files import check_targets, write_json
from engine.metrics_log import median_of_last, read_rows
from experiments.controls import plain_of, same_recipe
from experiments.grid import Cell, Grid, select, with_controls
from experiments.options import ReproduceOptions
from experiments.processes import parse_seeds, run_all
from experiments.statistics import Difference, mean_std, paired_difference

FREE = ("output", "resume", "auto_resume", "overwrite", "device", "log_every", "save_every", "seed")
FREE_DATA = ("root", "workers", "eval_batch_size", "resident")


@dataclass(frozen=True)
class Result:
    """The results of a cell's runs.

    Attributes:
        last: metric after the last epoch, one value per seed.
        best: the same for the best epoch.
        median: the same for the median of the last 20 evaluations.
        logs: other numbers of the last row, averaged over the seeds.
        seeds: seeds of the runs.
    """

    last: tuple[float, ...]
    best: tuple[float, ...]
    median: tuple[float, ...]
    logs: dict[str, float]
    seeds: tuple[int, ...]

    @property
    def by_seed(self) -> dict[int, float]:
        """Seed -> metric after the last epoch."""
        return dict(zip(self.seeds, self.last, strict=True))


def reproduce(options: ReproduceOptions, grid: Grid) -> int:
    """Run the missing cells and print the table.

    Args:
        options: options of the command.
        grid: tables that can be trained.

    Returns:
        0, or 1 if a run failed.

    Raises:
        UserError: a table, cell or seed is unknown, or a finished run has a different configuration.
    """
    if not options.table and not (options.list or options.show):
        raise UserError("table: choose one, e.g. --table 2; --list shows all cells")
    cells = grid.find(options.table) if options.table else list(grid.cells)
    cells = select(with_controls(cells) if options.controls else cells, options.cell)
    if options.show:
        print("\n".join(cell.recipe() for cell in cells))
        return 0
    homes = {cell.name: Path(options.runs) / grid.home(cell) for cell in cells}
    runs = {
        cell.name: [homes[cell.name] / f"seed{seed}" for seed in parse_seeds(options.seeds, cell.seeds)]
        for cell in cells
    }
    if options.list:
        for cell in cells:
            complete = sum(is_finished(folder) for folder in runs[cell.name])
            print(f"{cell.name:64} paper {cell.paper or '-':9} {complete}/{len(runs[cell.name])} runs")
        return 0
    if options.json_file:
        check_targets(options.json_file)
    failed = _run_missing(grid, options, cells, homes)
    results = {cell.name: collect(cell, runs[cell.name]) for cell in cells}
    print_table(cells, results, grid.columns)
    if options.json_file:
        first = next((f for cell in cells for f in runs[cell.name] if is_finished(f)), None)
        write_table(options, cells, results, first)
    return int(failed)


def is_finished(folder: Path) -> bool:
    """Return whether a run folder holds a run that reached its last epoch."""
    rows = read_rows(folder)
    config = folder / "config.yaml"
    if not rows or not config.is_file():
        return False
    recorded = yaml.safe_load(config.read_text())
    cut_short = recorded["max_steps"] and rows[-1]["step"] >= recorded["max_steps"]
    return "top1" in rows[-1] and bool(rows[-1]["epoch"] >= recorded["epochs"] or cut_short)


def _run_missing(grid: Grid, options: ReproduceOptions, cells: list[Cell], homes: Mapping[str, Path]) -> bool:
    """Start one process per missing run; return whether any failed."""
    todo: dict[Path, list[str]] = {}
    for cell in cells:
        for seed in parse_seeds(options.seeds, cell.seeds):
            folder = homes[cell.name] / f"seed{seed}"
            arguments = [*_arguments(grid, options, cell), "--seed", str(seed), "--output", str(folder)]
            if is_finished(folder):
                _check_same(grid, folder, arguments)
            else:
                todo[folder] = arguments
    if todo and not options.root:
        raise UserError(f"root: {len(todo)} runs are missing; pass the data folder with --root to run them")
    starter = shlex.split(options.launcher) if options.launcher else [sys.executable, "-m"]
    commands = {f: [*starter, grid.program, *arguments, "--auto_resume"] for f, arguments in todo.items()}
    return run_all(commands, options.jobs)


def _arguments(grid: Grid, options: ReproduceOptions, cell: Cell) -> list[str]:
    """Return the training flags for a cell."""
    name = cell.name if cell in grid.all_cells else cell.recipe()
    root = ["--data.root", options.root] if options.root else []
    return ["--config", name, *root, *shlex.split(options.options)]


def _check_same(grid: Grid, folder: Path, arguments: list[str]) -> None:
    """Reject a finished run that has a different configuration."""
    expected = _comparable(asdict(importlib.import_module(grid.program).main.read(arguments)))
    recorded = _comparable(yaml.safe_load((folder / "config.yaml").read_text()))
    differing = [
        f"{key} {recorded[key]!r} instead of {expected[key]!r}"
        for key in expected
        if key in recorded and recorded[key] != expected[key]
    ]
    if differing:
        raise UserError(f"{folder} was run with different options ({differing[0]}): use another --runs")


def _comparable(config: dict[str, Any]) -> dict[str, Any]:
    """Flatten to ``group.field``, without fields that cannot change a result."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and key != "options":
            flat |= {f"{key}.{name}": item for name, item in value.items()}
        else:
            flat[key] = value
    free = {*FREE, *(f"data.{name}" for name in FREE_DATA)}
    return {k: json.loads(json.dumps(v)) for k, v in flat.items() if k not in free}


def collect(cell: Cell, folders: Sequence[Path]) -> Result:
    """Read the results of a cell's finished runs."""
    complete = [folder for folder in folders if is_finished(folder)]
    finished = [read_rows(folder) for folder in complete]
    middle: list[float | None] = []
    if cell.metric == "top1":
        last = tuple(rows[-1]["top1"] for rows in finished)
        best = tuple(max(row["top1"] for row in rows if "top1" in row) for rows in finished)
        middle = [median_of_last(folder) for folder in complete]
    else:
        unit = 60.0 if cell.metric == "minutes" else 1.0
        last = tuple(statistics.median(row["seconds"] for row in rows) / unit for rows in finished)
        best = tuple(min(row["seconds"] for row in rows) / unit for rows in finished)
    last_row = finished[0][-1] if finished else {}
    shares = [name for name in last_row if name.endswith(("_share", "_rate", "_accuracy"))]
    logs = {}
    for name in shares:
        values = [rows[-1][name] for rows in finished if rows[-1].get(name) is not None]
        if values:
            logs[name] = statistics.fmean(values)
    seeds = tuple(int(folder.name.removeprefix("seed")) for folder in complete)
    return Result(last, best, tuple(value for value in middle if value is not None), logs, seeds)


def differences(cells: Sequence[Cell], results: Mapping[str, Result]) -> dict[str, dict[str, Difference]]:
    """Compare every cell with its plain augmentation, and every cell with Keep with its controls, paired by seed.

    Args:
        cells: of one table.
        results: results by cell name.

    Returns:
        Cell name -> ``minus plain`` and, for controls, ``Keep minus it``, where both cells have finished runs.
    """
    found: dict[str, dict[str, Difference]] = {cell.name: {} for cell in cells}
    for cell in cells:
        if cell.metric != "top1" or cell.config.get("augment", {}).get("op", "none") == "none":
            continue
        plain = next((other for other in cells if same_recipe(other.config, plain_of(cell.config))), None)
        pairs = {"minus plain": (cell.name, plain and plain.name), "Keep minus it": (cell.control_of, cell.name)}
        for title, (one, other) in pairs.items():
            if one in results and other in results and one != other:
                difference = paired_difference(results[one].by_seed, results[other].by_seed)
                found[cell.name] |= {title: difference} if difference else {}
    return found


def print_table(cells: list[Cell], results: dict[str, Result], columns: Mapping[str, str]) -> None:
    """Print one line per cell: the paper's number, ours of the last and best epoch, paired differences, and more.

    Args:
        cells: of one table.
        results: results by cell name.
        columns: see :class:`experiments.grid.Grid`.
    """
    table = Table(title=cells[0].title)
    compared = differences(cells, results)
    titles = [title for title in ("minus plain", "Keep minus it") if any(title in c for c in compared.values())]
    for name in ("cell", "paper", "ours, last", "ours, best", "seeds", *titles, *columns):
        table.add_column(name, no_wrap=True)
    for cell in cells:
        result = results[cell.name]
        logs = {name: f"{value:.3f}" for name, value in result.logs.items()} | {"median": mean_std(result.median)}
        table.add_row(
            ", ".join(filter(None, (cell.row, cell.column))),
            cell.paper or "-",
            mean_std(result.last),
            mean_std(result.best),
            str(len(result.last)),
            *(str(compared[cell.name].get(title, "-")) for title in titles),
            *(logs.get(name, "-") for name in columns.values()),
        )
    if titles:
        table.caption = "differences of the last epoch, paired by seed: mean [95 % interval, Student's t]"
    natural = Console(width=1000).measure(table).maximum  # keeps numbers whole on narrow terminals
    Console(width=max(Console().width, natural)).print(table)


def write_table(
    options: ReproduceOptions, cells: list[Cell], results: dict[str, Result], run: Path | None
) -> None:
    """Write all numbers and the package versions recorded by a run, without naming any folder."""
    versions = {} if run is None else json.loads((run / "run.json").read_text())
    versions.pop("command", None)
    compared = differences(cells, results)
    rows = [
        {
            "cell": cell.name,
            "row": cell.row,
            "column": cell.column,
            "paper": cell.paper or None,
            "metric": cell.metric,
            "last": results[cell.name].last,
            "best": results[cell.name].best,
            "median_last20": results[cell.name].median,
            "last_mean_std": mean_std(results[cell.name].last),
            "logs": results[cell.name].logs,
            "seeds": results[cell.name].seeds,
            **{title.replace(" ", "_"): value._asdict() for title, value in compared[cell.name].items()},
        }
        for cell in cells
    ]
    write_json({"table": cells[0].title, "options": options.options, "cells": rows, **versions}, options.json_file)
