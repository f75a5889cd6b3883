"""Fields of ``python -m reid.train``. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.config import Run
from keepcore.config import KeepConfig

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Data:
    """Images and batches.

    Attributes:
        dataset: demo, market1501, dukemtmc (its file names), msmt17, folder or csv.
        root: folder of the data set, or the CSV file; the demo set needs none.
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
        weights: start the backbone from this checkpoint or run of pretrain.train, timm or torchvision (.pth or
            .safetensors); "timm" takes timm's own.
        last_stride: stride of the last stage, 1 or 2.
        neck: BatchNorm between the feature of the triplet loss and the classifier (BNNeck).
        stem_relu: false leaves the stem's ReLU out, as the released strong baseline does by mistake.
    """

    name: str = "resnet50"
    weights: str = ""
    last_stride: int = 1
    neck: bool = True
    stem_relu: bool = True


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


@dataclass(frozen=True)
class Protocol:
    """How features are compared and what is reported.

    Attributes:
        metric: cosine or euclidean.
        rerank: k-reciprocal re-ranking (Zhong et al., squared distances).
        k1: its neighbours that may be reciprocal.
        k2: its neighbours over which the encoding is averaged.
        rerank_weight: of the original distance in it, in [0, 1] (lambda).
        expand: query expansion over as many gallery images; 0 is none.
        expand_alpha: exponent of their weights.
        resamples: bootstrap samples of the confidence intervals; 0 leaves them out.
        single_shot: repeats of the single-gallery-shot CMC; 0 leaves it out.
        thresholds: report TPR at FPR, EER and their thresholds.
        seed: of bootstrap and single-shot draws.
    """

    metric: str = "cosine"
    rerank: bool = False
    k1: int = 20
    k2: int = 6
    rerank_weight: float = 0.3
    expand: int = 0
    expand_alpha: float = 3.0
    resamples: int = 2000
    single_shot: int = 0
    thresholds: bool = True
    seed: int = 0
