"""Fields of ``python -m semi_supervised.train``. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from keepcore.config import KeepConfig
from keepcore.run.config import Run

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Data:
    """Images and label split.

    Attributes:
        dataset: demo, or folder (train/ and val/ of class folders, e.g. CIFAR-10 as JPEG).
        root: folder of the data; the demo set needs none.
        image_size: side of the crop, pixels; images are resized to it first.
        padding: reflected border before the random crop, pixels.
        hflip: chance of a horizontal flip.
        labels: number of labelled images, the same for each class.
        split_seed: which images are labelled.
        labelled_batch: labelled images per step over all processes.
        unlabelled_batch: unlabelled images per step over all processes.
        steps_per_epoch: steps between evaluations.
        eval_batch_size: images per evaluation batch.
        workers: data processes for each of the two streams.
    """

    dataset: str = "demo"
    root: str = ""
    image_size: int = 32
    padding: int = 4
    hflip: float = 0.5
    labels: int = 4000
    split_seed: int = 0
    labelled_batch: int = 64
    unlabelled_batch: int = 448
    steps_per_epoch: int = 1000
    eval_batch_size: int = 512
    workers: int = 2


@dataclass(frozen=True)
class Uda:
    """The unsupervised loss and its strong augmentation.

    Attributes:
        weight: of the unsupervised loss; 0 trains on the labels alone.
        threshold: images whose largest probability is below it do not count, in [0, 1].
        temperature: sharpens the target, > 0.
        tsa: training signal annealing: none, linear, log or exp.
        num_ops: RandAugment's N.
        magnitude: RandAugment's M on torchvision's scale of 0 to 30.
        cutout: side of the plain Cutout that ends the strong augmentation, pixels.
    """

    weight: float = 1.0
    threshold: float = 0.8
    temperature: float = 0.4
    tsa: str = "none"
    num_ops: int = 2
    magnitude: int = 9
    cutout: int = 16


@dataclass(frozen=True)
class Config(Run):
    """Train a classifier from few labels and many images.

    Attributes:
        model: any timm model, or one of ours: wrn_28_2, cifar_resnet18.
        data: images and label split.
        uda: the unsupervised loss.
        augment: paste (KeepRandAugment, scored by the largest logit) or none.
    """

    model: str = "wrn_28_2"
    data: Data = field(default_factory=Data)
    uda: Uda = field(default_factory=Uda)
    augment: KeepConfig = field(default_factory=lambda: KeepConfig(op="paste", score="max", scale=0.5))
