#!/usr/bin/env python3
"""Show what augmentations do to your own photographs, plain and with Keep: the paper's Figure 1 for any network.

    python tools/explore.py PHOTOS RUN
    python tools/explore.py cat.jpg dog.jpg resnet50 --pretrained

One row per image: the image, its saliency of two kinds, and Cutout, RandAugment and CutMix, each plain and with
Keep from the same draws. Above each result stands the probability of the class seen in the clean image.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from engine.command import command  # noqa: E402
from engine.config import Device  # noqa: E402
from engine.parser import positional  # noqa: E402


@dataclass(frozen=True, kw_only=True)
class ExploreOptions:
    """Show what augmentations do to your own photographs, plain and with Keep.

    Attributes:
        paths: image files or folders, and last the network; a run folder, a checkpoint, a folder in timm's hub
            form, or with --pretrained a timm name.
        arch: timm name of the network, for checkpoints that do not record it.
        pretrained: take timm's own weights for a network that is not a file.
        out: .png or .jpg file to write.
        count: largest number of images; more are thinned out evenly.
        length: side of the cut or pasted square as a fraction of the image side, in (0, 1].
        quantile: threshold tau of the selection as a quantile of the box scores, in [0, 1].
        magnitude: magnitude of RandAugment (two operations, scale tv31), 0-30.
        seed: random seed of the draws.
        device: device to run on; auto uses a GPU if there is one.
    """

    paths: tuple[str, ...] = positional(nargs="+", metavar="IMAGES... NETWORK")
    arch: str = ""
    pretrained: bool = False
    out: str = "explore.png"
    count: int = 6
    length: float = 0.5
    quantile: float = 0.6
    magnitude: int = 9
    seed: int = 0
    device: Device = "auto"


main = command(ExploreOptions, "pretrain.exploration:explore")

if __name__ == "__main__":
    sys.exit(main())
