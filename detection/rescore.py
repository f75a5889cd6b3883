"""Score existing COCO predictions quickly.

Reads ``inference/coco_instances_results.json`` of train_net.py, or any COCO result file. Uses faster-coco-eval if
it is installed, else pycocotools; tests check that the two agree. Detectron2's own evaluator is not modified.
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
        engine: library that computes the scores; auto uses the faster one if it is installed.
        per_class: also print the AP of every class.
        json_file: JSON file to write the scores to as well; "" writes none.
    """

    predictions: str = positional()
    annotations: str = positional()
    engine: Literal["auto", "faster_coco_eval", "pycocotools"] = "auto"
    per_class: bool = False
    json_file: str = ""


main = command(RescoreOptions, "detection.coco.rescore:rescore")

if __name__ == "__main__":
    sys.exit(main())
