"""Run the missing detectors of Table 11, and print our numbers beside the paper's.

Every row is trained on every backbone with every seed, each in RUNS/ARM/ROW/seedN by detection.run. Finished runs
are not repeated; interrupted ones continue from their last checkpoint. Overrides at the end go to train_net.py.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import REST, positional


@dataclass(frozen=True, kw_only=True)
class ReproduceOptions:
    """Run the missing detectors of Table 11, and print our numbers beside the paper's.

    Attributes:
        backbones: backbones as ARM=CHECKPOINT, comma-separated, e.g. plain=runs/a,KeepCutMix=runs/b; the arm
            zoo without a checkpoint is the model zoo's own.
        rows: rows of Table 11, comma-separated, e.g. fpn_r50,c4_r50; "" takes all
            six, which need backbones of both depths: give rows of one depth.
        seeds: seeds to run, e.g. 0-2 or 0,2.
        data: folder that holds coco/; "" uses the environment variable DETECTRON2_DATASETS.
        runs: folder that holds the run folders.
        num_gpus: number of GPUs of each run; 0 trains on the CPU.
        quick: run only two iterations on small images on the CPU, as a test of the whole pipeline.
        jobs: number of runs at the same time.
        list: show the runs, one line each, and run nothing.
        overrides: KEY VALUE pairs for train_net.py.
    """

    backbones: str
    rows: str = ""
    seeds: str = "0"
    data: str = ""
    runs: str = "runs/table11"
    num_gpus: int = 8
    quick: bool = False
    jobs: int = 1
    list: bool = False
    overrides: tuple[str, ...] = positional(nargs=REST, default=(), metavar="[KEY VALUE ...]")


main = command(ReproduceOptions, "detection.table11.reproduce:reproduce")

if __name__ == "__main__":
    sys.exit(main())
