"""Score COCO predictions again, and fast.

Takes the ``inference/coco_instances_results.json`` of train_net.py, or any COCO result file. Uses faster-coco-eval
where it is installed and pycocotools otherwise; the two agree (tested). Detectron2's own evaluator is left alone.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from engine.command import command
from engine.parser import positional


@dataclass(frozen=True)
class RescoreOptions:
    """Score COCO predictions.

    Attributes:
        predictions: OUTPUT_DIR of train_net.py, or a COCO result file.
        annotations: COCO annotation file of the evaluated set.
        engine: library that computes the scores; auto takes the faster one that is installed.
        per_class: also print the AP of every class.
        json_file: file that also receives the numbers; "" writes none.
    """

    predictions: str = positional()
    annotations: str = positional()
    engine: Literal["auto", "faster_coco_eval", "pycocotools"] = "auto"
    per_class: bool = False
    json_file: str = ""


main = command(RescoreOptions, "detection.coco.rescore:rescore")

if __name__ == "__main__":
    sys.exit(main())
