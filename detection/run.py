"""Train a detector of Table 11 on a backbone, and print its result beside the paper's.

Converts and verifies the backbone, checks it against the config, runs Detectron2's own train_net.py, and prints
the row. --resume continues the training without repeating the conversion. Overrides at the end are passed to
train_net.py (``... SOLVER.AMP.ENABLED True``), as are --num-gpus, --num-machines, --machine-rank and --dist-url.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from engine.command import command
from engine.config import WeightChoice
from engine.parser import REST, positional


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Train a detector of Table 11 on a backbone, and print its result beside the paper's.

    Attributes:
        backbone: checkpoint or run folder of the backbone, an already converted file, or the address of one
            (https://, detectron2://).
        baseline: zoo trains the row on the model zoo's own weights with their input settings; without --backbone
            they are downloaded.
        output: OUTPUT_DIR of train_net.py, to which the converted file is also written.
        row: row of Table 11, one of c4_r50, fpn_r50, retinanet_r50, c4_r101, fpn_r101, retinanet_r101.
        config_file: YAML config file to use instead of a row.
        data: folder that holds coco/, or data.yaml of a YOLO set with classes of your own; "" uses the environment
            variable DETECTRON2_DATASETS.
        train: training images with classes of your own, as ANNOTATIONS.json:IMAGES in COCO's format.
        val: validation images with the same classes, likewise.
        epochs: number of passes over classes of your own, to which the schedule is scaled; 0 keeps the row's
            iterations.
        on_bad_box: stop at a label of a YOLO set that is malformed or outside the image, or skip such labels.
        arch: architecture of the backbone, if its file does not name it.
        use: weights to use; auto uses the averaged ones if there are any.
        arm: name of the backbone in the table, e.g. plain or KeepCutMix; "" uses the one in its checkpoint.
        seed: random seed (Detectron2's SEED); -1 draws one.
        quick: run only two iterations on small images on the CPU, as a test of the whole pipeline.
        resume: continue the training in the output folder.
        eval_only: evaluate the last checkpoint in the output folder.
        num_gpus: number of GPUs per machine; 0 trains on the CPU.
        num_machines: number of machines.
        machine_rank: rank of this machine, starting from 0.
        dist_url: address of the first machine, e.g. tcp://host:port; "" uses Detectron2's default.
        overrides: KEY VALUE pairs for train_net.py, which take precedence over all other options.
    """

    output: str
    backbone: str = ""
    baseline: Literal["none", "zoo"] = "none"
    row: str = ""
    config_file: str = ""
    data: str = ""
    train: str = ""
    val: str = ""
    epochs: int = 0
    on_bad_box: Literal["stop", "skip"] = "stop"
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
