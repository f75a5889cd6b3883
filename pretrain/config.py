"""Fields of ``python -m pretrain.train``. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from keepcore.config import KeepConfig
from keepcore.run.config import Run

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Data:
    """Images and how they are cropped.

    Attributes:
        dataset: demo, cifar10, folder (train/ and val/ of class folders), or any of timm's readers (hfds/...).
        root: folder of the data; the demo set needs none.
        image_size: side of the training crop, pixels.
        eval_size: side of the evaluation crop; 0 is the same.
        crop_pct: evaluation resizes to eval_size / crop_pct and crops the centre.
        crop: pad (zero-pad, then crop: CIFAR) or resized (RandomResizedCrop: ImageNet).
        padding: pixels of "pad".
        area: smallest and largest share of the image that "resized" takes.
        hflip: chance of a horizontal flip.
        jitter: strength of brightness, contrast and saturation jitter; 0 is off.
        batch_size: images per step over all processes.
        eval_batch_size: images per evaluation batch and process.
        workers: data processes.
        resident: hold the images on the device and crop there: auto (CIFAR without policy: yes), yes or no.
    """

    dataset: str = "demo"
    root: str = ""
    image_size: int = 64
    eval_size: int = 0
    crop_pct: float = 1.0
    crop: str = "pad"
    padding: int = 4
    area: tuple[float, float] = (0.08, 1.0)
    hflip: float = 0.5
    jitter: float = 0.0
    batch_size: int = 128
    eval_batch_size: int = 256
    workers: int = 2
    resident: str = "auto"


@dataclass(frozen=True)
class Policy:
    """Image-level augmentation A, run in the data workers.

    Attributes:
        name: none, randaugment, autoaugment_cifar10, autoaugment_imagenet or trivialaugment.
        num_ops: RandAugment's N.
        magnitude: RandAugment's M on torchvision's scale of 0 to 30.
        order: after_crop or before_crop.
        cutout: side of a plain Cutout that belongs to A, pixels; 0 is none.
    """

    name: str = "none"
    num_ops: int = 2
    magnitude: int = 9
    order: str = "after_crop"
    cutout: int = 0


@dataclass(frozen=True)
class Model:
    """The network.

    Attributes:
        name: any timm model, or one of ours: cifar_resnet18, wrn_28_2, wrn_28_10.
        options: further arguments of timm.create_model.
        weights: start from this checkpoint.
        early_after: first stage, for the early head; "" finds it.
        early_weight: weight of the early head's loss.
    """

    name: str = "resnet50"
    options: dict[str, int | float | bool | str] = field(default_factory=dict)
    weights: str = ""
    early_after: str = ""
    early_weight: float = 0.3


@dataclass(frozen=True)
class Config(Run):
    """Train a classification backbone.

    Attributes:
        label_smoothing: epsilon.
        data: images.
        policy: image-level augmentation.
        augment: cutting, mixing or pasting, selective or plain; op "none" is off.
        model: network.
    """

    label_smoothing: float = 0.0
    data: Data = field(default_factory=Data)
    policy: Policy = field(default_factory=Policy)
    augment: KeepConfig = field(default_factory=lambda: KeepConfig(op="none"))
    model: Model = field(default_factory=Model)
