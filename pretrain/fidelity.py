"""Measure what augmentations destroy, plain and with Keep.

Each augmentation and its Keep version start from the same draws on validation images, seen by a trained network:

* changed: share of pixels that differ from the clean image by more than the tolerance;
* saliency lost, object lost: share of the clean saliency, and of the object's pixels (with masks), that changed;
* confidence drop: fall of the true label's probability, in points; flipped: right before, wrong after.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.config import Device
from engine.parser import positional


@dataclass(frozen=True)
class FidelityOptions:
    """Measure what augmentations destroy, plain and with Keep.

    Attributes:
        checkpoint: .pth of pretrain.train, or its run folder (then last.pth).
        augmentations: comma-separated list of cutout, erasing, cutmix, randaugment, autoaugment.
        images: number of validation images, spread evenly over the set.
        length: side of the cut or pasted square as a fraction of the image's side, in (0, 1].
        magnitude: magnitude of RandAugment (two operations), 0-30.
        quantile: threshold tau of the selection, in [0, 1].
        scale: resolution of the saliency pass that chooses regions; the one that measures is full.
        tolerance: largest difference of an unchanged pixel in any channel, 0-255.
        root: folder of the data; "" takes the one of the training.
        batch_size: images per batch.
        seed: seed of the draws.
        device: device to run on; auto takes a GPU where there is one.
        json_file: file that also receives the numbers; "" writes none.
        picture: PNG that receives a sheet of examples; "" draws none.
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


main = command(FidelityOptions, "pretrain.before_after:report_fidelity")

if __name__ == "__main__":
    sys.exit(main())
