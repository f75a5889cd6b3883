"""Convert a detector's backbone back to timm's names, which are also torchvision's.

Takes what tools/convert_to_d2.py wrote and what train_net.py leaves behind (C4, FPN, RetinaNet).
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional


@dataclass(frozen=True)
class ReverseOptions:
    """Take a detector's backbone back to timm and torchvision.

    Attributes:
        checkpoint: converted file, model_final.pth of train_net.py, or a .pkl in Detectron2's names.
        out: file to write; .pth (arch, state_dict, input) or .safetensors.
        config_file: config.yaml of the detector; "" looks beside the checkpoint.
    """

    checkpoint: str = positional()
    out: str = positional()
    config_file: str = ""


main = command(ReverseOptions, "detection.checkpoints.reverse:reverse")

if __name__ == "__main__":
    sys.exit(main())
