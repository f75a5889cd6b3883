"""Fields of ``python -m semi_supervised.train``. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.config import Run
from keepcore.config import KeepConfig

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Data:
    """Images and label split.

    Attributes:
        dataset: demo_few_labels, demo (harder), cifar10, or folder (train/ and val/ of class folders).
        root: folder of the data; the demo set needs none.
        image_size: side of the crop, pixels; images are resized to it first.
        padding: reflected border before the random crop, pixels.
        hflip: chance of a horizontal flip.
        labels: number of labelled images, the same for each class.
        split_seed: which images are labelled; -1: as the run's seed.
        label_file: indices of the labelled training images instead: .txt, .json or .npy, as others publish them.
        unlabelled_root: any folder of images, with or without subfolders, as the unlabelled set; "" takes the
            training images.
        include_labelled: the unlabelled set holds the labelled images too.
        labelled_batch: labelled images per step over all processes.
        unlabelled_batch: unlabelled images per step over all processes.
        steps_per_epoch: steps between evaluations.
        eval_batch_size: images per evaluation batch.
        workers: data processes for each of the two streams, where the images are not resident.
        resident: hold the images on the device: auto (up to 1 GB), yes or no.
    """

    dataset: str = "demo_few_labels"
    root: str = ""
    image_size: int = 32
    padding: int = 4
    hflip: float = 0.5
    labels: int = 4000
    split_seed: int = -1
    label_file: str = ""
    unlabelled_root: str = ""
    include_labelled: bool = True
    labelled_batch: int = 64
    unlabelled_batch: int = 448
    steps_per_epoch: int = 1000
    eval_batch_size: int = 512
    workers: int = 2
    resident: str = "auto"


@dataclass(frozen=True)
class Loss:
    """Losses of the labelled and the unlabelled images.

    Attributes:
        weight: of the unlabelled loss; 0 trains on the labels alone and never reads the unlabelled images.
        target: soft (the weak view's probabilities: UDA) or hard (its class: FixMatch).
        temperature: sharpens a soft target, > 0.
        threshold: images whose largest probability is not above it do not count, in [0, 1].
        entropy: weight of the weak view's entropy (entropy minimisation); 0 is off.
        tsa: training signal annealing: none, linear, log or exp.
        early: weight of the early head's losses, where augment.head is early.
    """

    weight: float = 1.0
    target: str = "soft"
    temperature: float = 0.4
    threshold: float = 0.8
    entropy: float = 0.0
    tsa: str = "none"
    early: float = 0.3


@dataclass(frozen=True)
class Strong:
    """The strong augmentation: RandAugment, then Cutout, on the device.

    Attributes:
        space: of RandAugment: tv31 (torchvision's operations, levels 0-30) or uda (google-research/uda's, 0-10).
        num_ops: N.
        level: M.
        random_level: draw each level from 1 .. M.
        prob: chance of each operation.
        cutout: side of the Cutout that ends it, pixels; 0 is none.
        shared_crop: the strong view starts from the weak view's crop, not from one of its own.
    """

    space: str = "uda"
    num_ops: int = 2
    level: int = 9
    random_level: bool = True
    prob: float = 0.5
    cutout: int = 16
    shared_crop: bool = False


@dataclass(frozen=True)
class Guide:
    """Whose saliency, and for which images.

    Attributes:
        model: student, or ema (the averaged network).
        confident_only: paste only into images that the unlabelled loss counts: fewer saliency maps, but the weak
            and the strong views then pass the network one after the other.
    """

    model: str = "student"
    confident_only: bool = False


@dataclass(frozen=True)
class Config(Run):
    """Train a classifier from few labels.

    Attributes:
        model: any timm model, or one of ours: wrn_28_2, cifar_resnet18.
        model_options: more arguments of the model, e.g. {bn_momentum: 0.001}.
        early_after: module after which the early head sits; "" is the first stage.
        data: images and label split.
        loss: losses.
        strong: strong augmentation.
        augment: paste (the region that matters comes back on the strong view) or none.
        guide: whose saliency.
    """

    model: str = "wrn_28_2"
    model_options: dict[str, Any] = field(default_factory=dict)
    early_after: str = ""
    data: Data = field(default_factory=Data)
    loss: Loss = field(default_factory=Loss)
    strong: Strong = field(default_factory=Strong)
    augment: KeepConfig = field(default_factory=lambda: KeepConfig(op="paste", score="max", scale=0.5))
    guide: Guide = field(default_factory=Guide)
