#!/usr/bin/env python3
"""Convert an ImageNet ResNet (ours, timm's, torchvision's) to a Detectron2 backbone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])  # run from the checkout, installed or not


def main() -> int:
    """Parse the command line; exit code 0, 1 (verification failed) or 2 (cannot convert)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help=".pth, .pth.tar or .safetensors, or a run folder")
    parser.add_argument("output", help="OUT.pth (tensors only) or OUT.pkl (the model zoo's form)")
    parser.add_argument("--arch", default="", help="architecture, where the file does not name it")
    parser.add_argument(
        "--use", default="auto", help="auto (averaged weights if any), ema, raw, or a top-level key"
    )
    parser.add_argument("--verify", action="store_true", help="compare res2..res5 with timm through Detectron2")
    arguments = parser.parse_args()

    from detection.command import convert_file
    from keepcore.run.errors import guard

    return guard(lambda: convert_file(arguments))


if __name__ == "__main__":
    sys.exit(main())
