"""Measure the accuracy of a trained backbone; prints JSON."""

import sys
from dataclasses import dataclass
from typing import Literal

from engine.command import command
from engine.config import Device, WeightChoice
from engine.parser import positional


@dataclass(frozen=True)
class EvaluateOptions:
    """Evaluate a backbone on the validation part of its data set.

    Attributes:
        checkpoint: .pth of pretrain.train, or its run folder (then last.pth).
        use: weights to evaluate; auto takes the averaged ones where there are any.
        split: part of the data set; train evaluates on clean training images.
        root: folder of the data; "" takes the one of the training.
        batch_size: images per batch.
        workers: number of data-loading processes.
        device: device to run on; auto takes a GPU where there is one.
        json_file: file that also receives the numbers; "" writes none.
    """

    checkpoint: str = positional()
    use: WeightChoice = "auto"
    split: Literal["val", "train"] = "val"
    root: str = ""
    batch_size: int = 256
    workers: int = 2
    device: Device = "auto"
    json_file: str = ""


main = command(EvaluateOptions, "pretrain.accuracy:evaluate_checkpoint")

if __name__ == "__main__":
    sys.exit(main())
