"""Tables as grids: one file defines every cell's recipe and the paper's number. Does not import torch."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from engine.errors import UserError, nearest, one_line
from experiments.controls import controls_of, is_keep

METRICS = ("top1", "seconds", "minutes")
FIELDS = {"title", "seeds", "data", "metric", "blocks"}
BLOCK_FIELDS = {"base", "rows", "columns", "paper"}


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        table: name of its file.
        title: title of the table.
        row: method.
        column: network or setting.
        config: fields of the run that differ from the defaults.
        paper: the paper's number, as printed; "" if it has none.
        metric: top1 (percent), seconds or minutes (per epoch).
        seeds: number of runs that the paper averages.
        data: cifar10 or imagenet.
        program: module that trains it.
        number: index among the table's cells.
        control_of: name of the cell with Keep whose control this is; "" for cells of the table itself.
    """

    table: str
    title: str
    row: str
    column: str
    config: dict[str, Any]
    paper: str
    metric: str
    seeds: int
    data: str
    program: str
    number: int
    control_of: str = ""

    @property
    def name(self) -> str:
        """Name for the command line, e.g. ``table2/keepcutout-l16``."""
        words = re.sub(r"[^a-z0-9._]+", "-", f"{self.row} {self.column}".lower()).strip("-")
        return f"{self.table}/{words}"

    def recipe(self) -> str:
        """Return the cell as a recipe: YAML with a header that describes it."""
        paper = f"the paper has {self.paper}" if self.paper else "the paper has no number"
        header = f"# {self.title}: {self.row}, {self.column}; {paper}, mean of {self.seeds} seeds.\n"
        command = f"#   python -m {self.program} --config {self.name} --data.root {self.data.upper()} --seed 0\n"
        return (
            header + command + f"# Source: see {self.table}.yaml.\n" + yaml.safe_dump(self.config, sort_keys=False)
        )


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested mappings; later ones win.

    Example:
        >>> merged({"a": {"b": 1}}, {"a": {"c": 2}})
        {'a': {'b': 1, 'c': 2}}
    """
    out: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
            out[key] = merged(out[key], value) if both else value
    return out


def read_table(path: Path, program: str) -> list[Cell]:
    """Read a grid file.

    Args:
        path: YAML with ``title``, ``seeds``, ``data`` and ``blocks`` of ``base``, ``rows``, ``columns`` and
            ``paper``.
        program: module that trains its cells.

    Returns:
        Its cells, block by block and row by row; cells whose paper entry is null are left out.

    Raises:
        UserError: the file is not a grid, has unknown fields, or has two cells of the same name.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {one_line(error)}") from error
    try:
        return _cells(path, program, content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is not a table: a block, row, column or number is misplaced") from error


def _cells(path: Path, program: str, content: Any) -> list[Cell]:
    """Read the content of a grid file."""
    if not isinstance(content, dict) or "blocks" not in content or set(content) - FIELDS:
        raise UserError(f"{path} is not a table: expected fields are {', '.join(sorted(FIELDS))}")
    if content.get("metric", "top1") not in METRICS:
        raise UserError(f"{path}: metric must be one of {', '.join(METRICS)}, got {content['metric']!r}")
    cells: list[Cell] = []
    for block in content["blocks"]:
        if set(block) - BLOCK_FIELDS or not {"rows", "columns"} <= set(block):
            raise UserError(f"{path}: block fields are {', '.join(sorted(BLOCK_FIELDS))}, got {', '.join(block)}")
        for row, column, paper, config in _block(block):
            cells.append(
                Cell(
                    table=path.stem,
                    title=content.get("title", path.stem),
                    row=row,
                    column=column,
                    config=config,
                    paper=paper,
                    metric=content.get("metric", "top1"),
                    seeds=int(content.get("seeds", 1)),
                    data=content.get("data", "cifar10"),
                    program=program,
                    number=len(cells),
                )
            )
    names = [cell.name for cell in cells]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise UserError(f"{path}: two cells have the name {double[0]}")
    return cells


def _block(block: Mapping[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    for row, changes in block["rows"].items():
        numbers = block.get("paper", {}).get(row, [""] * len(block["columns"]))
        for (column, more), paper in zip(block["columns"].items(), numbers, strict=True):
            if paper is not None:
                yield row, str(column), str(paper), merged(block.get("base", {}), more or {}, changes or {})


@dataclass(frozen=True)
class Grid:
    """All tables of a package.

    Attributes:
        folder: folder of their YAML files.
        program: module that trains a cell; its ``main`` is a :class:`engine.command.Command`.
        columns: title -> further number to print for each cell: the name of a log, or "median".
    """

    folder: Path
    program: str
    columns: Mapping[str, str]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell of every table."""
        order = sorted(self.folder.glob("*.yaml"), key=lambda path: (not path.stem.startswith("table"), path.stem))
        return tuple(cell for path in order for cell in read_table(path, self.program))

    @cached_property
    def all_cells(self) -> tuple[Cell, ...]:
        """Every cell of every table, followed by the controls of all of them."""
        return (*self.cells, *(cell for cell in with_controls(self.cells) if cell.control_of))

    def recipes(self) -> dict[str, str]:
        """Return the recipe of every cell and control by name, for ``--config``."""
        return {cell.name: cell.recipe() for cell in self.all_cells}

    def find(self, name: str) -> list[Cell]:
        """Find a table: ``2`` or ``table2``, ``figure3``, ``beyond``, or a YAML file.

        Raises:
            UserError: the table does not exist.
        """
        if name.endswith(".yaml"):
            if not Path(name).is_file():
                raise UserError(f"table: {name} not found")
            return read_table(Path(name), self.program)
        tables = sorted({cell.table for cell in self.cells})
        table = f"table{name}" if name.isdigit() else name
        if table not in tables:
            hint = "" if name.isdigit() else nearest(table, tables)  # a number has no typing errors to guess from
            raise UserError(f"table: unknown {name!r}{hint}; choose from {', '.join(tables)}")
        return [cell for cell in self.cells if cell.table == table]

    def home(self, cell: Cell) -> str:
        """Return the run folder's name for a cell; cells with the same recipe share one, even across tables."""
        return next((other.name for other in self.all_cells if other.config == cell.config), cell.name)


def with_controls(cells: Iterable[Cell]) -> list[Cell]:
    """Add its controls after each cell with Keep; those whose recipe the table already has are left out."""
    cells = list(cells)
    seen = [(cell.table, cell.config) for cell in cells]
    added: list[Cell] = []
    for cell in cells:
        added.append(cell)
        for name, config in controls_of(cell.config).items() if is_keep(cell.config) else ():
            if (cell.table, config) not in seen:
                seen.append((cell.table, config))
                added.append(
                    replace(cell, row=f"{cell.row}, {name}", config=config, paper="", control_of=cell.name)
                )
    return added


def select(cells: list[Cell], patterns: str) -> list[Cell]:
    """Keep the cells that match any of the patterns, e.g. ``keepcutout-*,*l16``; ``""`` keeps all.

    Raises:
        UserError: a pattern matches nothing.
    """
    short = [cell.name.split("/", 1)[1] for cell in cells]
    globs = [pattern.split("/")[-1] for pattern in patterns.split(",") if pattern]
    for pattern in globs:
        if not any(fnmatch(name, pattern) for name in short):
            raise UserError(
                f"cell: {pattern!r} matches no cell{nearest(pattern, short)}; choose from {', '.join(short)}"
            )
    matching = [not globs or any(fnmatch(name, pattern) for pattern in globs) for name in short]
    return [cell for cell, keep in zip(cells, matching, strict=True) if keep]
