"""Table 9 and what goes beyond it, as recipes. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from experiments.grid import Grid

GRID = Grid(Path(__file__).parent / "tables", "semi_supervised.train")
