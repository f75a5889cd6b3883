"""Measure how much of an image augmentations destroy, plain and with Keep.

Each augmentation and its Keep version use the same draws on validation images. A trained network measures:

* changed: fraction of pixels that differ from the clean image by more than the tolerance;
* saliency lost, object lost: fraction changed of the clean saliency, and of the object's pixels (with masks);
* confidence drop: drop in the true label's probability, in points; flipped: images no longer classified correctly.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.config import Device
from engine.parser import positional


@dataclass(frozen=True)
class FidelityOptions:
    """Measure how much of an image augmentations destroy, plain and with Keep.

    Attributes:
        checkpoint: .pth file written by pretrain.train, or a run folder (its last.pth).
        augmentations: comma-separated list of cutout, erasing, cutmix, randaugment, autoaugment.
        images: number of validation images, evenly spaced in the set.
        length: side of the cut or pasted square as a fraction of the image side, in (0, 1].
        magnitude: magnitude of RandAugment (two operations, scale tv31), 0-30.
        quantile: threshold tau of the selection as a quantile of the box scores, in [0, 1].
        scale: relative resolution of the saliency pass that selects regions; measurements use full resolution.
        tolerance: largest difference of an unchanged pixel in any channel, 0-255.
        root: folder of the data; "" uses the one from training.
        batch_size: images per batch.
        seed: random seed of the augmentations.
        device: device to run on; auto uses a GPU if there is one.
        json_file: JSON file to write the numbers to as well; "" writes none.
        picture: .png or .jpg file to write a sheet of examples to; "" writes none.
    """

    checkpoint: str = positional()
    augmentations: str = "cutout,erasing,cutmix,randaugment,autoaugment"
    images: int = 1000
    length: float = 0.5
    magnitude: int = 9
    quantile: float = 0.6
    scale: float = 1.0
    tolerance: float = 32.0
    root: str = ""
    batch_size: int = 100
    seed: int = 0
    device: Device = "auto"
    json_file: str = ""
    picture: str = ""


main = command(FidelityOptions, "pretrain.measure_fidelity:report_fidelity")

if __name__ == "__main__":
    sys.exit(main())
