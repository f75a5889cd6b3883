"""The paper's classification tables and figures as recipes. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from experiments.grid import Grid

GRID = Grid(Path(__file__).parent / "tables", "pretrain.train")
