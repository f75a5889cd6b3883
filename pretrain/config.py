"""Options of ``python -m pretrain.train``. Imports nothing heavy, so that ``--help`` answers at once."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engine.config import TrainingConfig
from keepcore.config import KeepConfig

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Data:
    """Images and how they are cropped.

    Attributes:
        dataset: demo, demo_few_labels, cifar10, folder (train/ and val/ with one folder per class), or the name
            of a timm reader, e.g. hfds/cifar10 or wds/imagenet.
        root: folder of the data; the demo set needs none.
        train_split: name of the training split of a timm reader (wds: also shards, "x-{000..099}.tar|100000").
        val_split: name of the validation split of a timm reader.
        num_classes: number of classes, for timm readers that do not report it; 0 asks the reader.
        image_size: side of the training crop, pixels.
        eval_size: side of the evaluation crop, pixels; 0 takes image_size.
        crop_pct: fraction of the resized shorter side that the evaluation crop covers, in (0, 1].
        crop: training crop; pad adds a black border first (CIFAR), resized takes a random part (ImageNet).
        padding: width of the black border of the pad crop, pixels.
        area: smallest and largest fraction of the image that the resized crop takes, e.g. [0.08, 1.0].
        hflip: probability of a horizontal flip.
        jitter: strength of brightness, contrast and saturation jitter; 0 turns it off.
        lighting: strength of AlexNet's PCA colour noise; 0 turns it off.
        on_corrupt: what to do with an unreadable image; fail names it and stops, skip takes the next one.
        batch_size: images per step over all processes.
        eval_batch_size: images per evaluation batch and process.
        workers: number of data-loading processes.
        resident: keep the images on the device and crop them there; auto does so for CIFAR without a policy.
    """

    dataset: str = "demo"
    root: str = ""
    train_split: str = "train"
    val_split: str = "validation"
    num_classes: int = 0
    image_size: int = 64
    eval_size: int = 0
    crop_pct: float = 1.0
    crop: Literal["pad", "resized"] = "pad"
    padding: int = 4
    area: tuple[float, float] = (0.08, 1.0)
    hflip: float = 0.5
    jitter: float = 0.0
    lighting: float = 0.0
    on_corrupt: Literal["fail", "skip"] = "fail"
    batch_size: int = 128
    eval_batch_size: int = 256
    workers: int = 2
    resident: Literal["auto", "yes", "no"] = "auto"


@dataclass(frozen=True)
class Policy:
    """Image-level augmentation, the A of the paper.

    Attributes:
        name: augmentation policy.
        num_ops: number of operations that RandAugment applies to an image.
        magnitude: magnitude of RandAugment, on the scale of policy.scale, or severity of AugMix, 1-10.
        scale: meaning of the magnitude; tv31 (torchvision) and ildoonet count 0-30, tpu10 and timm 0-10.
        order: whether the policy runs after the shared crop and flip, or before them.
        on: where the policy runs; device augments whole batches (randaugment with scale tv31, after_crop).
        cutout: side of the plain Cutout that ends the policy, pixels; 0 omits it.
    """

    name: Literal[
        "none", "randaugment", "augmix", "autoaugment_cifar10", "autoaugment_imagenet", "trivialaugment"
    ] = "none"
    num_ops: int = 2
    magnitude: int = 9
    scale: Literal["tv31", "ildoonet", "tpu10", "timm"] = "tv31"
    order: Literal["after_crop", "before_crop"] = "after_crop"
    on: Literal["workers", "device"] = "workers"
    cutout: int = 0


@dataclass(frozen=True)
class Model:
    """The network.

    Attributes:
        name: name of a timm model, or of one of ours: cifar_resnet18, cifar_resnet110, wrn_28_2, wrn_28_10,
            shake_shake_26_2x96d, pyramidnet_272_shakedrop.
        options: further arguments of timm.create_model, e.g. drop_rate (Dropout) or drop_path_rate (DropPath).
        drop_block: DropBlock's rate at the end of the training, rising from 0; for ResNets with bottlenecks.
        drop_block_size: side of DropBlock's blocks, feature pixels.
        weights: checkpoint to start from; "" starts from random weights.
        early_after: name of the module after which the early head sits; "" means the first stage.
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
        name: method; not together with augment.op.
        alpha: parameter of the Beta distribution of both Mixups.
        layers: modules among which Manifold Mixup draws one per batch; "" is the image itself.
        grid: range from which GridMask draws its period, pixels, end excluded.
        keep: width of GridMask's bars relative to its period, in [0, 1].
        prob: probability of GridMask per image at the end of its ramp.
        ramp: share of the training over which that probability rises from 0, in [0, 1].
        attention: checkpoint whose attention guides Attentive CutMix; "" takes the network in training.
        attention_grid: number of cells of Attentive CutMix along a side.
        cells: number of cells that Attentive CutMix pastes.
    """

    name: Literal["none", "mixup", "manifold_mixup", "gridmask", "attentive_cutmix"] = "none"
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
class Config(TrainingConfig):
    """Train a classification backbone.

    Attributes:
        label_smoothing: label smoothing, in [0, 1].
        synthetic: train on random images instead of a data set, to measure throughput.
        data: images and how they are cropped.
        policy: image-level augmentation.
        augment: cutting, mixing or pasting, guided by saliency or plain; op "none" turns it off.
        baseline: method to compare with; not together with augment.
        model: network.
    """

    label_smoothing: float = 0.0
    synthetic: bool = False
    data: Data = field(default_factory=Data)
    policy: Policy = field(default_factory=Policy)
    augment: KeepConfig = field(default_factory=lambda: KeepConfig(op="none"))
    baseline: Baseline = field(default_factory=Baseline)
    model: Model = field(default_factory=Model)
