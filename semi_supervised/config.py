"""Options of ``python -m semi_supervised.train``. Imports nothing heavy, so that ``--help`` is instant."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.config import TrainingConfig
from keepcore.config import KeepConfig

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Data:
    """Data set, label split and batches.

    Attributes:
        dataset: demo_few_labels, demo (harder), cifar10, or folder (train/ and val/ with one folder per class).
        root: folder of the data; not needed for the demo sets.
        image_size: side of the crop, in pixels; images are resized to it first.
        padding: width of the reflected border added before the random crop, in pixels.
        hflip: probability of a horizontal flip.
        mean: mean of each channel that the normalisation subtracts, of values in [0, 1]; [] takes that of the
            weights training starts from, or CIFAR-10's.
        std: standard deviation of each channel that it divides by, > 0; likewise.
        labels: number of labelled images in total, a multiple of the number of classes.
        split_seed: seed that decides which images are labelled; -1 uses the seed of the run.
        label_file: file with the indices of the labelled training images (.txt, .json or .npy); "" draws them.
        unlabelled_root: folder of unlabelled images, with or without subfolders; "" uses the training images.
        include_labelled: use the labelled images in the unlabelled set too.
        labelled_batch: labelled images per step across all processes.
        unlabelled_batch: unlabelled images per step across all processes.
        steps_per_epoch: number of steps that count as one epoch.
        eval_batch_size: images per evaluation batch.
        workers: number of data-loading processes for each of the two streams, if the images are not resident.
        resident: keep the images in device memory; auto does so up to 1 GiB.
    """

    dataset: str = "demo_few_labels"
    root: str = ""
    image_size: int = 32
    padding: int = 4
    hflip: float = 0.5
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
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
    resident: Literal["auto", "yes", "no"] = "auto"


@dataclass(frozen=True)
class Loss:
    """Losses of the labelled and the unlabelled images.

    Attributes:
        weight: weight of the unlabelled loss; 0, with entropy 0, trains without reading unlabelled images.
        target: pseudo-label; the weak view's probabilities (soft, UDA) or its class (hard, FixMatch).
        temperature: temperature of soft targets, > 0; below 1 sharpens them.
        threshold: probability that the weak view's prediction must exceed for the image to count, in [0, 1].
        entropy: weight of entropy minimisation on the weak view's prediction; 0 turns it off.
        tsa: schedule of training signal annealing; none turns it off.
        early: weight of the early head's losses, if augment.head is early.
    """

    weight: float = 1.0
    target: Literal["soft", "hard"] = "soft"
    temperature: float = 0.4
    threshold: float = 0.8
    entropy: float = 0.0
    tsa: Literal["none", "linear", "log", "exp"] = "none"
    early: float = 0.3


@dataclass(frozen=True)
class Strong:
    """Strong augmentation: RandAugment, then Cutout, on the device.

    Attributes:
        space: operations and levels of RandAugment; tv31 is torchvision's (levels 0-30), uda is that of
            google-research/uda (levels 0-10).
        num_ops: number of operations that RandAugment applies to an image.
        level: level of the operations, or the highest level if random_level is true.
        random_level: draw each operation's level from 1 to level.
        prob: probability that each operation is applied, in [0, 1].
        cutout: side of the Cutout that ends the augmentation, in pixels; 0 turns it off.
        shared_crop: make the strong view from the weak view's crop instead of a separate crop.
    """

    space: Literal["tv31", "uda"] = "uda"
    num_ops: int = 2
    level: int = 9
    random_level: bool = True
    prob: float = 0.5
    cutout: int = 16
    shared_crop: bool = False


@dataclass(frozen=True)
class Guide:
    """Network whose saliency guides the strong view, and the images it applies to.

    Attributes:
        model: network that computes the saliency; the student in training, or its moving average (ema).
        confident_only: paste only into images that the unlabelled loss counts; this needs fewer saliency maps but
            separate forward passes for the weak and the strong views.
    """

    model: Literal["student", "ema"] = "student"
    confident_only: bool = False


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Train a classifier from few labels.

    Attributes:
        model: name of a timm model or one of this suite's, e.g. wrn_28_2 or cifar_resnet18.
        model_options: further arguments of the model, e.g. {variant: uda}.
        pretrained: start from timm's own weights of this model.
        weights: checkpoint to start from, in any form that timm, torchvision, Lightning or this suite writes; ""
            starts from random weights. A last layer for other classes starts anew.
        freeze: names of modules that are not trained, e.g. [conv1, bn1, layer1].
        early_after: name of the module that the early head follows; "" means the first stage.
        data: data set, label split and batches.
        loss: losses.
        strong: strong augmentation.
        augment: pasting of the important region into the strong view; op paste or none.
        guide: network whose saliency guides the strong view.
    """

    model: str = "wrn_28_2"
    model_options: dict[str, Any] = field(default_factory=dict)
    pretrained: bool = False
    weights: str = ""
    freeze: tuple[str, ...] = ()
    early_after: str = ""
    data: Data = field(default_factory=Data)
    loss: Loss = field(default_factory=Loss)
    strong: Strong = field(default_factory=Strong)
    augment: KeepConfig = field(default_factory=lambda: KeepConfig(op="paste", score="max", scale=0.5))
    guide: Guide = field(default_factory=Guide)
