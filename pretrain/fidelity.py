"""Measure how much of an image augmentations destroy, plain, with Keep, and with the controls of Keep.

One network picks the regions, the same or another one judges the results. All rows use the same draws:

* area cut: share of the pixels that are cut or mixed in, or that a policy changes by more than the tolerance;
* saliency lost: share of the judge's saliency in those pixels (its input gradient on the clean image);
* object lost: share of the objects' pixels, if there are masks (demo set) or boxes (COCO);
* object per area: object lost divided by area cut; 1 means that the augmentation does not see objects;
* label lost: drop of the label's probability, in points;
* flipped: images that were classified correctly before and are not after.

Intervals are 95 %, bootstrapped over images. Where the network does not know the data's classes, as on COCO, its
own prediction for the clean image stands for the label.
"""

import sys
from dataclasses import dataclass
from typing import Literal

from engine.command import command
from engine.config import Device
from engine.parser import positional


@dataclass(frozen=True)
class FidelityOptions:
    """Measure how much of an image augmentations destroy, plain, with Keep, and with its controls.

    Attributes:
        network: network that picks the regions; a run folder, a checkpoint, a folder in timm's hub form, or with
            --pretrained a timm name.
        arch: timm name of the network, for checkpoints that do not record it.
        pretrained: take timm's own weights for a network that is not a file.
        judge: network that judges the results, in the same forms; "" takes the one that picks.
        judge_arch: timm name of the judge, for checkpoints that do not record it.
        root: folder of the data; class folders (with or without val/), DETECTRON2_DATASETS (with coco/), or images
            of --annotations; "" uses the data that a run was trained on.
        annotations: COCO annotation file of the images in root; "" if there is none.
        split: split of coco/ to use, e.g. val2017.
        augmentations: comma-separated list of cutout, erasing, cutmix, randaugment, autoaugment.
        controls: add the controls of Keep; boxes of the plain size (area-matched), of other images (shuffled),
            elsewhere (same size), by a mean map, a centre prior, noise, and random pastes.
        images: number of images, evenly spaced in the set.
        draws: number of draws of each augmentation for each image.
        length: side of the cut or pasted square as a fraction of the image side, in (0, 1].
        magnitude: magnitude of RandAugment (two operations, scale tv31), 0-30.
        quantile: threshold tau of the selection as a quantile of the box scores, in [0, 1].
        saliency: gradient with respect to the image (the paper's), or gradient times activation at a feature map.
        stage: name of the module at which feature_gradient is taken; "" chooses by the image size.
        scale: relative resolution of the saliency pass that selects regions.
        tolerance: largest difference of an unchanged pixel in any channel, 0-255, for image-level policies.
        batch_size: images per batch.
        seed: random seed of the augmentations.
        device: device to run on; auto uses a GPU if there is one.
        json_file: JSON file to write the numbers to as well; "" writes none.
        picture: .png or .jpg file to write a sheet of examples to; "" writes none.
    """

    network: str = positional()
    arch: str = ""
    pretrained: bool = False
    judge: str = ""
    judge_arch: str = ""
    root: str = ""
    annotations: str = ""
    split: str = "val2017"
    augmentations: str = "cutout,erasing,cutmix,randaugment,autoaugment"
    controls: bool = True
    images: int = 1000
    draws: int = 1
    length: float = 0.5
    magnitude: int = 9
    quantile: float = 0.6
    saliency: Literal["input_gradient", "feature_gradient"] = "input_gradient"
    stage: str = ""
    scale: float = 1.0
    tolerance: float = 32.0
    batch_size: int = 100
    seed: int = 0
    device: Device = "auto"
    json_file: str = ""
    picture: str = ""


main = command(FidelityOptions, "pretrain.measure_fidelity:report_fidelity")

if __name__ == "__main__":
    sys.exit(main())
