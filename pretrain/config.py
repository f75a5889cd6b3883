"""Options of ``python -m pretrain.train``. Imports nothing heavy, so that ``--help`` is instant."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engine.config import TrainingConfig
from keepcore.config import KeepConfig

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Data:
    """Data set, crops and batches.

    Attributes:
        dataset: demo, demo_few_labels, cifar10, folder (one folder per class, in train/ and val/ or directly), csv
            (columns image and label, perhaps split), or the name of a timm reader, e.g. hfds/cifar10 or
            wds/imagenet.
        root: folder of the data, or the CSV file; not needed for the demo set.
        val_share: share of the images set aside for validation where folder or csv have no validation part.
        split_seed: seed of that choice, which depends on each image's path alone.
        train_split: training split of a timm reader; wds also takes shards, e.g. "x-{000..099}.tar|100000".
        val_split: validation split of a timm reader.
        num_classes: number of classes, for timm readers that do not report it; 0 takes the reader's number.
        image_size: side of the training crop, in pixels; 0 takes that of the weights training starts from, or 64.
        eval_size: side of the evaluation crop, in pixels; 0 uses image_size.
        crop_pct: fraction of the resized shorter side that the evaluation crop covers, in (0, 1]; 0 takes that of
            the weights, or 1.
        interpolation: how images are resized; "" takes what the weights were trained with, or bilinear.
        mean: mean per channel for the normalisation, in [0, 1]; [] takes that of the weights, or of the data set.
        std: standard deviation per channel, likewise.
        crop: training crop; pad adds a black border first (CIFAR), resized takes a random part (ImageNet).
        padding: width of the black border of the pad crop, in pixels.
        area: smallest and largest fraction of the image area that the resized crop takes, e.g. [0.08, 1.0].
        hflip: probability of a horizontal flip.
        jitter: strength of brightness, contrast and saturation jitter; 0 turns it off.
        lighting: strength of AlexNet's PCA colour noise; 0 turns it off.
        on_corrupt: what to do with an unreadable image; fail stops and names it, skip uses the next one.
        batch_size: images per step across all processes.
        eval_batch_size: images per evaluation batch, for each process.
        workers: number of data-loading processes.
        resident: keep the images in device memory and crop them there; auto does so for CIFAR without a policy.
    """

    dataset: str = "demo"
    root: str = ""
    val_share: float = 0.2
    split_seed: int = 0
    train_split: str = "train"
    val_split: str = "validation"
    num_classes: int = 0
    image_size: int = 0
    eval_size: int = 0
    crop_pct: float = 0.0
    interpolation: Literal["", "bilinear", "bicubic", "nearest"] = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
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
    """Image-level augmentation (A in the paper).

    Attributes:
        name: augmentation policy.
        num_ops: number of operations that RandAugment applies to an image.
        magnitude: magnitude of RandAugment on policy.scale, or severity of AugMix, 1-10.
        scale: scale of the magnitude; 0-30 for tv31 (torchvision) and ildoonet, 0-10 for tpu10 and timm.
        order: whether the policy runs after or before the shared crop and flip.
        on: where the policy runs; device (whole batches) supports only randaugment with tv31 and after_crop.
        cutout: side of the plain Cutout that ends the policy, in pixels; 0 turns it off.
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
        name: name of a timm model or one of this suite's: cifar_resnet18, cifar_resnet110, wrn_28_2, wrn_28_10,
            shake_shake_26_2x96d, pyramidnet_272_shakedrop.
        options: further arguments of the model, e.g. drop_rate (Dropout) or drop_path_rate (DropPath).
        drop_block: DropBlock's rate at the end of training, in [0, 1), rising from 0; for bottleneck ResNets only.
        drop_block_size: side of DropBlock's blocks, in feature pixels.
        pretrained: start from timm's own weights of this network.
        weights: checkpoint to start from, in any form that timm, torchvision, Lightning or this suite writes; ""
            starts from random weights. A last layer for other classes starts anew.
        freeze: names of modules that are not trained, e.g. [conv1, bn1, layer1].
        early_after: name of the module that the early head follows; "" means the first stage.
        early_weight: weight of the early head's loss.
    """

    name: str = "resnet50"
    options: dict[str, int | float | bool | str] = field(default_factory=dict)
    drop_block: float = 0.0
    drop_block_size: int = 7
    pretrained: bool = False
    weights: str = ""
    freeze: tuple[str, ...] = ()
    early_after: str = ""
    early_weight: float = 0.3


@dataclass(frozen=True)
class Guide:
    """Network whose saliency guides the augmentation, and how long its maps are kept.

    Attributes:
        model: student, the network in training; ema, its moving average; or a checkpoint of another network of the
            same classes, e.g. a small one.
        refresh: number of epochs after which the map of an image is computed anew; 1 computes it at every step.
        map_size: side of a kept map, in pixels; kept maps take map_size x map_size bytes per image.
    """

    model: str = "student"
    refresh: int = 1
    map_size: int = 16


@dataclass(frozen=True)
class Baseline:
    """A method to compare KeepAugment with, applied to whole batches.

    Attributes:
        name: method; cannot be combined with augment.op.
        alpha: parameter of the Beta distribution of Mixup and Manifold Mixup.
        layers: modules of which Manifold Mixup draws one per batch; "" is the image itself.
        grid: range of GridMask's period, in pixels; the upper limit is excluded.
        keep: width of GridMask's bars relative to its period, in (0, 1).
        prob: probability of GridMask per image at the end of its ramp, in [0, 1].
        ramp: fraction of training over which GridMask's probability rises from 0, in [0, 1].
        attention: checkpoint of the network that guides Attentive CutMix; "" uses the network in training.
        attention_grid: number of grid cells of Attentive CutMix along each side.
        cells: number of grid cells that Attentive CutMix pastes.
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
        data: data set, crops and batches.
        policy: image-level augmentation.
        augment: cutting, mixing or pasting, saliency-guided or plain; op "none" turns it off.
        guide: network whose saliency guides the augmentation, and how long its maps are kept.
        baseline: method to compare with; cannot be combined with augment.
        model: network.
    """

    label_smoothing: float = 0.0
    synthetic: bool = False
    data: Data = field(default_factory=Data)
    policy: Policy = field(default_factory=Policy)
    augment: KeepConfig = field(default_factory=lambda: KeepConfig(op="none"))
    guide: Guide = field(default_factory=Guide)
    baseline: Baseline = field(default_factory=Baseline)
    model: Model = field(default_factory=Model)
