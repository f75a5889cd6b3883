"""Train a detector of Table 11 on a backbone, and print its number beside the paper's.

Converts and verifies the backbone, checks it against the config, runs Detectron2's own train_net.py, prints the
row. What is done already is not done again; --resume continues the training. Overrides at the end go to
train_net.py (``... SOLVER.AMP.ENABLED True``), as do --num-gpus, --num-machines, --machine-rank and --dist-url.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.config import WeightChoice
from engine.parser import REST, positional


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Train a detector of Table 11 on a backbone, and print its number beside the paper's.

    Attributes:
        backbone: checkpoint or run folder of the backbone, or a file that is converted already.
        output: OUTPUT_DIR of train_net.py, which also receives the converted file.
        row: row of Table 11, one of c4_r50, fpn_r50, retinanet_r50, c4_r101, fpn_r101, retinanet_r101.
        config_file: YAML file of your own instead of a row.
        data: folder that holds coco/ (DETECTRON2_DATASETS); "" leaves the environment variable as it is.
        arch: architecture of the backbone, where its file does not name it.
        use: weights to take; auto takes the averaged ones where there are any.
        arm: name of the backbone in the table; "" takes what its checkpoint says, e.g. plain or KeepCutMix.
        seed: SEED of Detectron2; -1 draws one.
        quick: run two iterations on small images on the CPU, to see that everything fits together.
        resume: continue the training in the output folder.
        eval_only: evaluate the output folder's last checkpoint.
        num_gpus: number of GPUs per machine; 0 trains on the CPU.
        num_machines: number of machines.
        machine_rank: rank of this machine, from 0.
        dist_url: address of the first machine; "" is Detectron2's default.
        overrides: KEY VALUE pairs for train_net.py; they win over everything.
    """

    backbone: str
    output: str
    row: str = ""
    config_file: str = ""
    data: str = ""
    arch: str = ""
    use: WeightChoice = "auto"
    arm: str = ""
    seed: int = -1
    quick: bool = False
    resume: bool = False
    eval_only: bool = False
    num_gpus: int = 1
    num_machines: int = 1
    machine_rank: int = 0
    dist_url: str = ""
    overrides: tuple[str, ...] = positional(nargs=REST, default=(), metavar="[KEY VALUE ...]")


main = command(RunOptions, "detection.table11.run:run")

if __name__ == "__main__":
    sys.exit(main())
