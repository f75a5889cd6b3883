"""Options of the re-ID commands. Imports nothing heavy, so that ``--help`` is fast."""

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
        dataset: data set: demo, market1501, dukemtmc (any set with its file names), msmt17, folder or csv.
        root: folder of the data set, or the CSV file; optional for the demo set.
        height: height of the network's input, pixels.
        width: width of the network's input, pixels.
        padding: width of the black border before the random crop, pixels.
        hflip: probability of a horizontal flip.
        msmt17_val: also train on MSMT17's validation list, which other toolboxes leave out.
        identities: number of people per batch over all processes (P).
        images: number of images of each person in a batch (K).
        eval_batch_size: number of images per evaluation batch.
        workers: number of data-loading processes.
    """

    dataset: str = "demo"
    root: str = ""
    height: int = 256
    width: int = 128
    padding: int = 10
    hflip: float = 0.5
    msmt17_val: bool = False
    identities: int = 16
    images: int = 4
    eval_batch_size: int = 128
    workers: int = 2


@dataclass(frozen=True)
class Model:
    """The network.

    Attributes:
        name: name of a timm ResNet.
        weights: initial weights of the backbone: run or checkpoint of pretrain.train, or .pth or .safetensors file
            of timm or torchvision; "timm" downloads timm's weights, "" uses random weights.
        last_stride: stride of the last stage, 1 or 2.
        neck: insert a BatchNorm (BNNeck) between the feature of the triplet loss and the classifier.
        stem_relu: keep the stem's ReLU, which the released strong baseline omits by mistake.
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
        augment: Random Erasing, saliency-guided or plain; op "none" turns it off.
    """

    data: Data = field(default_factory=Data)
    model: Model = field(default_factory=Model)
    loss: Loss = field(default_factory=Loss)
    augment: KeepConfig = field(default_factory=lambda: KeepConfig(op="none"))


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Comparison of features, and the metrics to report.

    Attributes:
        metric: distance between features.
        rerank: re-rank by k-reciprocal neighbours (Zhong et al., with squared distances).
        k1: number of nearest neighbours that re-ranking tests for reciprocity.
        k2: number of neighbours over which re-ranking averages the encoding.
        rerank_weight: weight of the original distance in re-ranking (lambda), in [0, 1].
        expand: number of gallery images averaged into each query (query expansion); 0 turns it off.
        expand_alpha: exponent of the similarity weights in query expansion; 0 gives equal weights.
        resamples: number of bootstrap samples for the 95 % intervals; 0 omits the intervals.
        single_shot: number of repeats of the single-gallery-shot CMC; 0 omits it.
        thresholds: also report TPR at fixed FPRs, EER and the corresponding similarity thresholds.
        seed: random seed of the bootstrap and single-shot draws.
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
    """Embedding of images by a trained network.

    Attributes:
        flip: add the features of the mirrored image to those of each image.
        batch_size: number of images per batch.
        workers: number of data-loading processes.
        device: device to run on; auto uses a GPU if one is available.
    """

    flip: bool = False
    batch_size: int = 128
    workers: int = 2
    device: Device = "auto"


@dataclass(frozen=True, kw_only=True)
class Evaluation(Protocol, Embedding):
    """What to evaluate, and where to write the numbers.

    Attributes:
        dataset: data set to evaluate on; "" uses the training data set.
        root: folder of the data set, or the CSV file; "" uses the one from training.
        multi_query: represent each query by the average of its gt_bbox photographs from the same camera.
        json_file: JSON file to write the numbers to, besides stdout; "" writes none.
    """

    dataset: str = ""
    root: str = ""
    multi_query: bool = False
    json_file: str = ""
