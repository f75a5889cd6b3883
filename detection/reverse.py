"""Convert a detector's backbone back to timm's names, which torchvision shares.

Accepts files of tools/convert_to_d2.py and checkpoints of train_net.py (C4, FPN, RetinaNet).
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional


@dataclass(frozen=True)
class ReverseOptions:
    """Convert a detector's backbone back to the names of timm and torchvision.

    Attributes:
        checkpoint: converted file, model_final.pth of train_net.py, or .pkl file with Detectron2's names.
        out: file to write: .pth (with arch, state_dict and input) or .safetensors.
        config_file: config.yaml of the detector; "" uses the one beside the checkpoint.
    """

    checkpoint: str = positional()
    out: str = positional()
    config_file: str = ""


main = command(ReverseOptions, "detection.checkpoints.reverse:reverse")

if __name__ == "__main__":
    sys.exit(main())
