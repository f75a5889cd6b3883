#!/usr/bin/env python3
"""Convert an ImageNet ResNet (from this suite, timm or torchvision) to a Detectron2 backbone.

Exit codes: 0: the file was written. 1: --verify found a difference from timm; nothing was written.
2: the checkpoint cannot be converted; the reason is printed in one line.
"""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

sys.path[0] = str(Path(__file__).resolve().parents[1])  # run from the checkout, whether installed or not


class OneLine(argparse.ArgumentParser):
    """Reports errors in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        self.exit(2, f"error: {message}; --help lists the options\n")


def main() -> int:
    """Parse the command line, convert the checkpoint, and return the exit code."""
    parser = OneLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="run folder, or .pth, .pth.tar, .bin or .safetensors file")
    parser.add_argument("output", type=Path, help="file to write: .pth (tensors only) or .pkl (model zoo format)")
    parser.add_argument("--arch", default="", help="architecture, if the file does not name it")
    parser.add_argument(
        "--use", default="auto", help="weights: auto (averaged if any), ema, raw, or a top-level key"
    )
    parser.add_argument("--keep-fc", action="store_true", help="keep the classifier, as linear.*")
    parser.add_argument("--verify", action="store_true", help="compare res2..res5 with timm through Detectron2")
    for name in ("mean", "std"):
        text = f"{name} of the normalisation in RGB, for values in [0, 1], if the file does not contain it"
        parser.add_argument(f"--{name}", type=float, nargs=3, default=(), metavar=("R", "G", "B"), help=text)
    options = vars(parser.parse_args())

    from detection.checkpoints.convert_file import Conversion, convert_file
    from engine.errors import guard

    options |= {"source": options.pop("checkpoint"), "mean": tuple(options["mean"]), "std": tuple(options["std"])}
    return guard(lambda: convert_file(Conversion(**options)))


if __name__ == "__main__":
    sys.exit(main())
