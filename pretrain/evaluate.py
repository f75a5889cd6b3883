"""Measure the accuracy of a trained backbone and print it as JSON."""

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
        checkpoint: .pth file written by pretrain.train, or a run folder (its last.pth).
        use: weights to evaluate; auto uses the averaged ones if there are any.
        split: part of the data set; train evaluates on training images without augmentation.
        root: folder of the data; "" uses the one from training.
        batch_size: images per batch.
        workers: number of data-loading processes.
        device: device to run on; auto uses a GPU if there is one.
        json_file: JSON file to write the numbers to as well; "" writes none.
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
