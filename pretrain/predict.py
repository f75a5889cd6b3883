"""Classify images with any trained network, and write a CSV file and a sheet of examples with their saliency.

Images in a folder named like one of the network's classes have that class as their label; the others have none.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from engine.command import command
from engine.config import Device
from engine.parser import positional


@dataclass(frozen=True, kw_only=True)
class PredictOptions:
    """Classify images with any trained network.

    Attributes:
        network: a run folder, a checkpoint, a folder in timm's hub form, or with --pretrained a timm name.
        images: image files, and folders that are searched for images.
        arch: timm name of the network, for checkpoints that do not record it.
        pretrained: take timm's own weights for a network that is not a file.
        top: number of classes to list for each image.
        probabilities: also write a column for every class.
        csv_file: CSV file to write; "" writes to standard output.
        picture: .png or .jpg file to write examples with their saliency to, misses first; "" writes none.
        columns: number of examples in the picture.
        on_corrupt: what to do with an unreadable image; fail stops and names it, skip leaves it out.
        batch_size: images per batch.
        workers: number of data-loading processes.
        device: device to run on; auto uses a GPU if there is one.
    """

    network: str = positional()
    images: tuple[str, ...] = positional(nargs="+")
    arch: str = ""
    pretrained: bool = False
    top: int = 5
    probabilities: bool = False
    csv_file: str = ""
    picture: str = ""
    columns: int = 8
    on_corrupt: Literal["fail", "skip"] = "fail"
    batch_size: int = 64
    workers: int = 0
    device: Device = "auto"


main = command(PredictOptions, "pretrain.predictions:predict")

if __name__ == "__main__":
    sys.exit(main())
