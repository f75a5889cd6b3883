"""Options of the ``reproduce`` commands. Imports nothing heavy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReproduceOptions:
    """Run the missing cells of a table of the paper, and print our numbers beside the paper's.

    Attributes:
        table: table to reproduce, e.g. 2, table2, figure3 or beyond, or a YAML file of your own; --list without
            it shows all of them.
        cell: names or patterns of the cells to run, comma-separated, e.g. "keepcutout-*,cutout-l16"; "" takes all.
        controls: add the controls of every cell with Keep; the same boxes on other images (shuffled) or elsewhere
            (same size), boxes of plain sizes (area-matched), a mean map, a centre prior, noise, random pastes.
        seeds: seeds to run, e.g. 0-4 or 0,2; "" runs as many as the paper has.
        root: folder of the data.
        runs: folder that holds the run folders.
        list: show the cells, one line each, and run nothing.
        show: print the recipes of the cells and run nothing.
        launcher: how a module is started, e.g. "torchrun --nproc_per_node 8 -m"; "" uses this Python.
        options: further options for the training, e.g. "--epochs 2 --data.workers 8".
        jobs: number of runs at the same time.
        json_file: file that also receives all numbers; "" writes none.
    """

    table: str = ""
    cell: str = ""
    controls: bool = False
    seeds: str = ""
    root: str = ""
    runs: str = "runs"
    list: bool = False
    show: bool = False
    launcher: str = ""
    options: str = ""
    jobs: int = 1
    json_file: str = ""
