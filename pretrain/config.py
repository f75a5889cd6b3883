"""Fields of ``python -m pretrain.train``. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.config import Run
from keepcore.config import KeepConfig

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Data:
    """Images and how they are cropped.

    Attributes:
        dataset: demo, cifar10, folder (train/ and val/ of class folders), or any of timm's readers (hfds/...).
        root: folder of the data; the demo set needs none.
        train_split: name of the training part, for timm's readers (wds: also shards, "x-{000..099}.tar|100000").
        val_split: name of the validation part, for timm's readers.
        num_classes: K, for readers that do not tell.
        image_size: side of the training crop, pixels.
        eval_size: side of the evaluation crop; 0 is the same.
        crop_pct: evaluation resizes to eval_size / crop_pct and crops the centre.
        crop: pad (zero-pad, then crop: CIFAR) or resized (RandomResizedCrop: ImageNet).
        padding: pixels of "pad".
        area: smallest and largest share of the image that "resized" takes.
        hflip: chance of a horizontal flip.
        jitter: strength of brightness, contrast and saturation jitter; 0 is off.
        lighting: strength of AlexNet's PCA colour noise; 0 is off.
        on_corrupt: an image that cannot be read: fail (names it), or skip (takes the next one, counts).
        batch_size: images per step over all processes.
        eval_batch_size: images per evaluation batch and process.
        workers: data processes.
        resident: hold the images on the device and crop there: auto (CIFAR without policy: yes), yes or no.
    """

    dataset: str = "demo"
    root: str = ""
    train_split: str = "train"
    val_split: str = "validation"
    num_classes: int = 0
    image_size: int = 64
    eval_size: int = 0
    crop_pct: float = 1.0
    crop: str = "pad"
    padding: int = 4
    area: tuple[float, float] = (0.08, 1.0)
    hflip: float = 0.5
    jitter: float = 0.0
    lighting: float = 0.0
    on_corrupt: str = "fail"
    batch_size: int = 128
    eval_batch_size: int = 256
    workers: int = 2
    resident: str = "auto"


@dataclass(frozen=True)
class Policy:
    """Image-level augmentation A.

    Attributes:
        name: none, randaugment, autoaugment_cifar10, autoaugment_imagenet, augmix or trivialaugment.
        num_ops: RandAugment's N.
        magnitude: RandAugment's M, or AugMix's severity.
        scale: what M means: tv31 (torchvision, 0-30), ildoonet (0-30), tpu10 or timm (0-10).
        order: after_crop or before_crop.
        on: workers (image by image), or device (RandAugment of whole batches; scale tv31, order after_crop).
        cutout: side of a plain Cutout that belongs to A, pixels; 0 is none.
    """

    name: str = "none"
    num_ops: int = 2
    magnitude: int = 9
    scale: str = "tv31"
    order: str = "after_crop"
    on: str = "workers"
    cutout: int = 0


@dataclass(frozen=True)
class Model:
    """The network.

    Attributes:
        name: any timm model, or one of ours: cifar_resnet18, cifar_resnet110, wrn_28_2, wrn_28_10,
            shake_shake_26_2x96d, pyramidnet_272_shakedrop.
        options: further arguments of timm.create_model, e.g. drop_rate (Dropout) or drop_path_rate (DropPath).
        drop_block: DropBlock's rate at the end of the training, rising from 0; ResNets with bottlenecks only.
        drop_block_size: side of its blocks, feature pixels.
        weights: start from this checkpoint.
        early_after: first stage, for the early head; "" finds it.
        early_weight: weight of the early head's loss.
    """

    name: str = "resnet50"
    options: dict[str, int | float | bool | str] = field(default_factory=dict)
    drop_block: float = 0.0
    drop_block_size: int = 7
    weights: str = ""
    early_after: str = ""
    early_weight: float = 0.3


@dataclass(frozen=True)
class Baseline:
    """A method that KeepAugment is compared with, applied to the batch.

    Attributes:
        name: none, mixup, manifold_mixup, gridmask or attentive_cutmix.
        alpha: Beta parameter of both Mixups.
        layers: Manifold Mixup draws one of these modules; "" is the image.
        grid: GridMask's period is drawn from [first, second), pixels.
        keep: width of GridMask's bars relative to the period.
        prob: GridMask's chance per image at the end of its ramp.
        ramp: share of the training in which that chance rises from 0.
        attention: Attentive CutMix looks with this checkpoint; "" is the network in training.
        attention_grid: cells along a side.
        cells: how many it pastes.
    """

    name: str = "none"
    alpha: float = 1.0
    layers: tuple[str, ...] = ("", "layer1", "layer2")
    grid: tuple[int, int] = (96, 224)
    keep: float = 0.6
    prob: float = 0.8
    ramp: float = 0.8
    attention: str = ""
    attention_grid: int = 7
    cells: int = 6


@dataclass(frozen=True)
class Config(Run):
    """Train a classification backbone.

    Attributes:
        label_smoothing: epsilon.
        synthetic: random images instead of a data set, for throughput.
        data: images.
        policy: image-level augmentation.
        augment: cutting, mixing or pasting, selective or plain; op "none" is off.
        baseline: a method to compare with; not together with augment.
        model: network.
    """

    label_smoothing: float = 0.0
    synthetic: bool = False
    data: Data = field(default_factory=Data)
    policy: Policy = field(default_factory=Policy)
    augment: KeepConfig = field(default_factory=lambda: KeepConfig(op="none"))
    baseline: Baseline = field(default_factory=Baseline)
    model: Model = field(default_factory=Model)
