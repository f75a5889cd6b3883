"""Trains the missing detectors of Table 11 and prints the table."""

import sys
from pathlib import Path
from typing import NamedTuple

from detection.collect import CollectOptions
from detection.options import check_overrides
from detection.reproduce import ReproduceOptions
from detection.table11.collect import collect
from detection.table11.outputs import read_run
from detection.table11.rows import ROWS, find_row
from detection.table11.run import origin_of
from detection.table11.run_note import read_note
from engine.errors import UserError, check_ranges
from experiments.processes import parse_seeds, run_all

ZOO = "zoo"


class Cell(NamedTuple):
    """One detector to train.

    Attributes:
        arm: name of the backbone.
        backbone: its checkpoint; "" for the zoo's.
        row: short name of the row.
        seed: seed of the run.
    """

    arm: str
    backbone: str
    row: str
    seed: int

    def folder(self, runs: str) -> Path:
        """Return the OUTPUT_DIR of the run."""
        return Path(runs) / self.arm / self.row / f"seed{self.seed}"


def reproduce(options: ReproduceOptions) -> int:
    """Run the missing detectors and print the table.

    Returns:
        0, or 1 if a run failed.

    Raises:
        UserError: a backbone, a row or a seed is not valid.

    Source: Table 11.
    """
    check_overrides(options.overrides)
    check_ranges(options, jobs=(1, None), num_gpus=(0, None))
    cells = cells_of(options)
    folders = {cell: cell.folder(options.runs) for cell in cells}
    if options.list:
        for cell, folder in folders.items():
            print(f"{cell.arm:20} {cell.row:15} seed {cell.seed}  {_state(folder):12} {folder}")
        return 0
    for cell, folder in folders.items():
        _check_same(options, cell, folder)
    todo = {folder: run_command(options, cell) for cell, folder in folders.items() if _state(folder) != "finished"}
    failed = run_all(todo, options.jobs)
    finished = [f"{cell.arm}={folder}" for cell, folder in folders.items() if _state(folder) == "finished"]
    if finished:
        collect(CollectOptions(tuple(finished)))
    return int(failed)


def cells_of(options: ReproduceOptions) -> list[Cell]:
    """List the detectors: every backbone on every row with every seed.

    Raises:
        UserError: a backbone is not ARM=CHECKPOINT, occurs twice, or a row is unknown.
    """
    backbones: dict[str, str] = {}
    for text in options.backbones.split(","):
        arm, _, path = text.strip().partition("=")
        if not arm or "/" in arm or (not path and arm != ZOO):
            raise UserError(f"backbones: expected ARM=CHECKPOINT or {ZOO}, got {text!r}")
        if arm in backbones:
            raise UserError(f"backbones: {arm} occurs twice")
        backbones[arm] = path
    rows = [_row(name.strip()) for name in options.rows.split(",")] if options.rows else list(ROWS)
    seeds = parse_seeds(options.seeds, 1)
    return [Cell(arm, path, row, seed) for row in rows for arm, path in backbones.items() for seed in seeds]


def _row(name: str) -> str:
    row = find_row(name)
    return next(short for short, other in ROWS.items() if other is row)


def run_command(options: ReproduceOptions, cell: Cell) -> list[str]:
    """Return the command that trains a detector, or continues it where there is a checkpoint."""
    folder = cell.folder(options.runs)
    words = [sys.executable, "-m", "detection.run", "--row", cell.row, "--arm", cell.arm, "--output", str(folder)]
    words += ["--baseline", ZOO] if cell.arm == ZOO else []
    words += ["--backbone", cell.backbone] if cell.backbone else []
    words += ["--data", options.data] if options.data else []
    words += ["--quick"] if options.quick else ["--num-gpus", str(options.num_gpus)]
    words += ["--resume"] if _state(folder) == "interrupted" else []
    return [*words, "--seed", str(cell.seed), *options.overrides]


def _check_same(options: ReproduceOptions, cell: Cell, folder: Path) -> None:
    """Check that a finished run is the one that would be run now.

    Raises:
        UserError: it had another backbone, or was a quick test, or is one now.
    """
    note = read_note(folder)
    if _state(folder) != "finished" or not note:
        return
    if bool(note.get("quick")) != options.quick:
        kind = "a quick test" if note.get("quick") else "a whole run"
        raise UserError(f"{folder} holds {kind}: give another --runs")
    if cell.backbone and origin_of(cell.backbone) != note.get("origin"):
        raise UserError(f"{folder} was trained from a backbone other than {cell.backbone}: give another --runs")


def _state(folder: Path) -> str:
    """Return finished, interrupted or missing: train_net.py writes model_final.pth, then evaluates."""
    if not (folder / "last_checkpoint").is_file():
        return "missing"
    try:
        run = read_run(str(folder))
    except UserError:  # it was not evaluated yet
        return "interrupted"
    return "interrupted" if run.remark.startswith("unfinished") else "finished"
