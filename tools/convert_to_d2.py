#!/usr/bin/env python3
"""Convert an ImageNet ResNet (ours, timm's, torchvision's) to a Detectron2 backbone.

Exit code 0: written. 1: --verify found another network than timm's, nothing is written.
2: cannot be converted, with the reason in one line.
"""

import argparse
import sys
from pathlib import Path
from typing import NoReturn

sys.path[0] = str(Path(__file__).resolve().parents[1])  # run from the checkout, installed or not


class OneLine(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with code 2."""
        self.exit(2, f"error: {message}; --help lists the options\n")


def main() -> int:
    """Parse the command line and convert; returns the exit code."""
    parser = OneLine(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help=".pth, .pth.tar, .bin or .safetensors, or a run folder")
    parser.add_argument("output", type=Path, help="OUT.pth (tensors only) or OUT.pkl (the model zoo's form)")
    parser.add_argument("--arch", default="", help="architecture, where the file does not name it")
    parser.add_argument(
        "--use", default="auto", help="auto (averaged weights if any), ema, raw, or a top-level key"
    )
    parser.add_argument("--keep-fc", action="store_true", help="carry the classifier over as linear.*")
    parser.add_argument("--verify", action="store_true", help="compare res2..res5 with timm through Detectron2")
    for name in ("mean", "std"):
        text = f"{name} of the normalisation in RGB, of values in [0, 1], where the file does not tell"
        parser.add_argument(f"--{name}", type=float, nargs=3, default=(), metavar=("R", "G", "B"), help=text)
    options = vars(parser.parse_args())

    from detection.checkpoints.convert_file import Conversion, convert_file
    from engine.errors import guard

    options |= {"source": options.pop("checkpoint"), "mean": tuple(options["mean"]), "std": tuple(options["std"])}
    return guard(lambda: convert_file(Conversion(**options)))


if __name__ == "__main__":
    sys.exit(main())
