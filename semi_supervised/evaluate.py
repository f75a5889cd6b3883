"""Measure the accuracy of a trained classifier and print it as JSON."""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.config import Device
from engine.parser import positional


@dataclass(frozen=True)
class EvaluateOptions:
    """Evaluate a classifier on the validation part of its data set.

    Attributes:
        checkpoint: .pth file written by semi_supervised.train, or a run folder (its last.pth).
        root: folder of the data; "" uses the one from training.
        device: device to run on; auto uses a GPU if there is one.
    """

    checkpoint: str = positional()
    root: str = ""
    device: Device = "auto"


main = command(EvaluateOptions, "semi_supervised.accuracy:report_accuracy")

if __name__ == "__main__":
    sys.exit(main())
