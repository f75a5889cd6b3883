"""Fields of ``python -m reid.train``. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from keepcore.config import KeepConfig
from keepcore.run.config import Run

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Data:
    """Images and batches.

    Attributes:
        dataset: demo or market1501.
        root: folder with bounding_box_train, query and bounding_box_test; the demo set needs none.
        height: of the network's input, pixels.
        width: of the network's input, pixels.
        padding: black border before the random crop, pixels.
        hflip: chance of a horizontal flip.
        identities: P, people per batch over all processes.
        images: K, images of each.
        eval_batch_size: images per evaluation batch.
        workers: data processes.
    """

    dataset: str = "demo"
    root: str = ""
    height: int = 256
    width: int = 128
    padding: int = 10
    hflip: float = 0.5
    identities: int = 16
    images: int = 4
    eval_batch_size: int = 128
    workers: int = 2


@dataclass(frozen=True)
class Model:
    """The network.

    Attributes:
        name: a timm ResNet.
        weights: start the backbone from this checkpoint of pretrain.train, timm or torchvision.
        last_stride: stride of the last stage, 1 or 2.
        neck: BatchNorm between the feature of the triplet loss and the classifier (BNNeck).
    """

    name: str = "resnet50"
    weights: str = ""
    last_stride: int = 1
    neck: bool = True


@dataclass(frozen=True)
class Loss:
    """Weights and margins.

    Attributes:
        label_smoothing: epsilon of the classification loss.
        margin: of the triplet loss, in feature distance.
        centre: weight of the centre loss; 0 is off.
        centre_lr: learning rate of the centres.
    """

    label_smoothing: float = 0.1
    margin: float = 0.3
    centre: float = 0.0
    centre_lr: float = 0.5


@dataclass(frozen=True)
class Config(Run):
    """Train a re-identification network.

    Attributes:
        data: images and batches.
        model: network.
        loss: losses.
        augment: Random Erasing, selective or plain; op "none" is off.
    """

    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    augment: KeepConfig = field(default_factory=lambda: KeepConfig(op="none"))
