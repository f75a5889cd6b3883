"""Options of the re-ID commands. Imports nothing heavy, so that ``--help`` answers at once."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engine.config import Device, TrainingConfig
from keepcore.config import KeepConfig

RECIPES = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Data:
    """Images and batches.

    Attributes:
        dataset: demo, market1501, dukemtmc (its file names), msmt17, folder or csv.
        root: folder of the data set, or the CSV file; the demo set needs none.
        height: height of the network's input, pixels.
        width: width of the network's input, pixels.
        padding: width of the black border before the random crop, pixels.
        hflip: probability of a horizontal flip.
        identities: number of people per batch over all processes, P.
        images: number of images of each person in a batch, K.
        eval_batch_size: images per evaluation batch.
        workers: number of data-loading processes.
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
        name: name of a timm ResNet.
        weights: checkpoint or run of pretrain.train, of timm or of torchvision (.pth, .safetensors) from which
            the backbone starts; timm downloads timm's own, "" starts from random weights.
        last_stride: stride of the last stage, 1 or 2.
        neck: put a BatchNorm between the feature of the triplet loss and the classifier (BNNeck).
        stem_relu: keep the stem's ReLU, which the released strong baseline leaves out by mistake.
    """

    name: str = "resnet50"
    weights: str = ""
    last_stride: Literal[1, 2] = 1
    neck: bool = True
    stem_relu: bool = True


@dataclass(frozen=True)
class Loss:
    """Weights and margins of the losses.

    Attributes:
        label_smoothing: label smoothing of the classification loss, in [0, 1].
        margin: margin of the triplet loss, in units of the feature distance.
        centre: weight of the centre loss; 0 turns it off.
        centre_lr: learning rate of the centres.
    """

    label_smoothing: float = 0.1
    margin: float = 0.3
    centre: float = 0.0
    centre_lr: float = 0.5


@dataclass(frozen=True)
class Config(TrainingConfig):
    """Train a re-identification network.

    Attributes:
        data: images and batches.
        model: network.
        loss: losses.
        augment: Random Erasing, guided by saliency or plain; op "none" turns it off.
    """

    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    augment: KeepConfig = field(default_factory=lambda: KeepConfig(op="none"))


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How features are compared and what is reported.

    Attributes:
        metric: distance between features.
        rerank: re-rank by k-reciprocal neighbours (Zhong et al., on squared distances).
        k1: number of neighbours that re-ranking considers as reciprocal.
        k2: number of neighbours over which re-ranking averages the encoding.
        rerank_weight: weight of the original distance in re-ranking (lambda), in [0, 1].
        expand: number of gallery images that query expansion averages; 0 turns it off.
        expand_alpha: exponent of the weights of query expansion.
        resamples: number of bootstrap samples of the 95 % intervals; 0 omits the intervals.
        single_shot: number of repetitions of the single-gallery-shot CMC; 0 omits it.
        thresholds: also report TPR at fixed FPR, EER and the thresholds for them.
        seed: seed of the bootstrap and single-shot draws.
    """

    metric: Literal["cosine", "euclidean"] = "cosine"
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


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """How a trained network embeds images.

    Attributes:
        flip: add the features of the mirrored images.
        batch_size: images per batch.
        workers: number of data-loading processes.
        device: device to run on; auto takes a GPU where there is one.
    """

    flip: bool = False
    batch_size: int = 128
    workers: int = 2
    device: Device = "auto"


@dataclass(frozen=True, kw_only=True)
class Evaluation(Protocol, Embedding):
    """What to evaluate, and where the numbers go.

    Attributes:
        dataset: data set to evaluate on; "" takes the one of the training.
        root: folder of the data; "" takes the one of the training.
        multi_query: average each query with the photographs of gt_bbox by its camera.
        json_file: file that also receives the numbers; "" writes none.
    """

    dataset: str = ""
    root: str = ""
    multi_query: bool = False
    json_file: str = ""
