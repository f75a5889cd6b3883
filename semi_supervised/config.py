"""Options of ``python -m semi_supervised.train``. Imports nothing heavy, so that ``--help`` answers at once."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from engine.config import TrainingConfig
from keepcore.config import KeepConfig

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Data:
    """Images and label split.

    Attributes:
        dataset: demo_few_labels, demo (harder), cifar10, or folder (train/ and val/ with one folder per class).
        root: folder of the data; the demo set needs none.
        image_size: side of the crop, pixels; images are resized to it first.
        padding: width of the reflected border before the random crop, pixels.
        hflip: probability of a horizontal flip.
        labels: number of labelled images, the same number for each class.
        split_seed: seed that decides which images are labelled; -1 takes the seed of the run.
        label_file: file with the indices of the labelled training images (.txt, .json or .npy); "" draws them.
        unlabelled_root: any folder of images, with or without subfolders, as the unlabelled set; "" takes the
            training images.
        include_labelled: keep the labelled images in the unlabelled set too.
        labelled_batch: labelled images per step over all processes.
        unlabelled_batch: unlabelled images per step over all processes.
        steps_per_epoch: number of steps between evaluations.
        eval_batch_size: images per evaluation batch.
        workers: number of data-loading processes for each of the two streams, where the images are not resident.
        resident: keep the images on the device; auto does so up to 1 GB.
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
    resident: Literal["auto", "yes", "no"] = "auto"


@dataclass(frozen=True)
class Loss:
    """Losses of the labelled and the unlabelled images.

    Attributes:
        weight: weight of the unlabelled loss; 0 trains on the labels alone and never reads unlabelled images.
        target: pseudo-label; soft takes the weak view's probabilities (UDA), hard its class (FixMatch).
        temperature: temperature that sharpens a soft target, > 0.
        threshold: probability that the weak view's prediction must exceed for the image to count, in [0, 1].
        entropy: weight of the entropy of the weak view's prediction; 0 turns entropy minimisation off.
        tsa: schedule of training signal annealing.
        early: weight of the early head's losses, where augment.head is early.
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
    """The strong augmentation: RandAugment, then Cutout, on the device.

    Attributes:
        space: operations and levels of RandAugment; tv31 are torchvision's (levels 0-30), uda those of
            google-research/uda (levels 0-10).
        num_ops: number of operations that RandAugment applies to an image.
        level: level of the operations, or the highest one where random_level is true.
        random_level: draw the level of each operation from 1 to level.
        prob: probability that each operation is applied.
        cutout: side of the Cutout that ends the augmentation, pixels; 0 omits it.
        shared_crop: start the strong view from the weak view's crop instead of a crop of its own.
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
    """Which network's saliency decides, and for which images.

    Attributes:
        model: network whose saliency decides; the student in training, or its average (ema).
        confident_only: paste only into images that the unlabelled loss counts, which takes fewer saliency maps but
            runs the weak and the strong views through the network one after the other.
    """

    model: Literal["student", "ema"] = "student"
    confident_only: bool = False


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Train a classifier from few labels.

    Attributes:
        model: name of a timm model, or of one of ours, e.g. wrn_28_2 or cifar_resnet18.
        model_options: further arguments of the model, e.g. {bn_momentum: 0.001}.
        early_after: name of the module after which the early head sits; "" means the first stage.
        data: images and label split.
        loss: losses.
        strong: strong augmentation.
        augment: op paste returns the important region to the strong view, op none does not.
        guide: which network's saliency decides.
    """

    model: str = "wrn_28_2"
    model_options: dict[str, Any] = field(default_factory=dict)
    early_after: str = ""
    data: Data = field(default_factory=Data)
    loss: Loss = field(default_factory=Loss)
    strong: Strong = field(default_factory=Strong)
    augment: KeepConfig = field(default_factory=lambda: KeepConfig(op="paste", score="max", scale=0.5))
    guide: Guide = field(default_factory=Guide)
