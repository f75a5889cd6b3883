"""Measure the accuracy of a trained classifier; prints JSON."""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.config import Device
from engine.parser import positional


@dataclass(frozen=True)
class EvaluateOptions:
    """Evaluate a classifier on the validation part of its data set.

    Attributes:
        checkpoint: .pth of semi_supervised.train, or its run folder (then last.pth).
        root: folder of the data; "" takes the one of the training.
        device: device to run on; auto takes a GPU where there is one.
    """

    checkpoint: str = positional()
    root: str = ""
    device: Device = "auto"


main = command(EvaluateOptions, "semi_supervised.accuracy:report_accuracy")

if __name__ == "__main__":
    sys.exit(main())
