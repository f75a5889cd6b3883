"""``python -m reid.evaluate CHECKPOINT``: CMC, mAP and mINP of a trained network."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from keepcore.run.errors import UserError, guard
from reid.config import Config, Data

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

    from reid.data import Photo, Source
    from reid.model import ReidModel

PROG = "python -m reid.evaluate"


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluate a re-identification network.

    Attributes:
        checkpoint: a .pth of reid.train, or its run folder (then last.pth).
        root: folder of the data; "" takes the one of training.
        batch_size: images per batch.
        workers: data processes.
        device: auto, cpu, cuda, mps.
        json_file: also write the numbers here.
        picture: also write ranked lists of some queries to this PNG.
    """

    checkpoint: str
    root: str = ""
    batch_size: int = 128
    workers: int = 2
    device: str = "auto"
    json_file: str = ""
    picture: str = ""


def embed(model: nn.Module, photos: Sequence[Photo], data: Data, accelerator: Accelerator) -> Tensor:
    """Embed photos in order.

    Args:
        model: a ReidModel; left in the mode it came in.
        photos: files.
        data: input size and batch.
        accelerator: devices.

    Returns:
        features_ND: float32 on the CPU, rows of length 1.

    Source: Luo et al., CVPRW 2019 (feature after the neck, cosine).
    """
    import torch

    from keepcore import borrowed
    from keepcore.run.images import IMAGENET_MEAN, IMAGENET_STD, Normalize, on_device
    from keepcore.run.loader import EpochLoader, in_order
    from reid.data import Photos, eval_transform

    dataset = Photos(photos, [0] * len(photos), eval_transform(data))
    plan = in_order(range(len(dataset)), data.eval_batch_size)
    loader = EpochLoader(dataset, plan, 0, workers=data.workers)
    normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
    features = []
    with torch.no_grad(), borrowed(model) as network, accelerator.autocast():
        for images_BCHW, _ in on_device(loader, accelerator.device):
            features.append(cast("ReidModel", network).embed(normalize(images_BCHW)).float())
    return torch.cat(features).cpu()


def evaluate(model: nn.Module, source: Source, data: Data, accelerator: Accelerator) -> dict[str, float]:
    """Embed query and gallery and rank; every process does it all, so that all agree.

    Returns:
        See :func:`reid.rank.metrics`.

    Source: Market-1501 protocol.
    """
    from reid.rank import metrics, rank_positives

    features = [embed(model, photos, data, accelerator) for photos in (source.query, source.gallery)]
    return metrics(rank_positives(*features, *ids_and_cameras(source)))


def ids_and_cameras(source: Source) -> tuple[Any, Any, Any, Any]:
    """Give query ids, gallery ids, query cameras and gallery cameras as int64 arrays.

    Source: elementary.
    """
    import numpy as np

    columns = [
        np.array([getattr(photo, name) for photo in part], np.int64)
        for name in ("person", "camera")
        for part in (source.query, source.gallery)
    ]
    return columns[0], columns[1], columns[2], columns[3]


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and evaluate; returns the exit code."""

    def command() -> None:
        from keepcore.run.cli import parse, with_positional

        config = parse(EvaluateConfig, with_positional(argv, "checkpoint"), prog=PROG, description=str(__doc__))
        print(json.dumps(evaluate_checkpoint(config)))

    return guard(command)


def evaluate_checkpoint(config: EvaluateConfig) -> dict[str, Any]:
    """Rebuild a network from its checkpoint alone and evaluate it.

    Raises:
        UserError: the file is no checkpoint of reid.train.

    Source: elementary.
    """
    from keepcore.run import checkpoint
    from keepcore.run.cli import from_yaml
    from keepcore.run.config import Run
    from keepcore.run.engine import build_accelerator
    from reid.data import open_source
    from reid.model import build_model

    path = Path(config.checkpoint)
    path = path / "last.pth" if path.is_dir() else path
    content = checkpoint.load(path)
    if "config" not in content or "identities" not in content["config"]:
        raise UserError(f"{path} was not written by reid.train")
    trained = from_yaml(Config, content["config"])
    trained = replace(trained, model=replace(trained.model, weights=""))
    model = build_model(trained, content["num_classes"])
    checkpoint.load_weights(model, content.get("state_dict_ema", content["state_dict"]), path)
    root = config.root or trained.data.root
    data = replace(trained.data, root=root, eval_batch_size=config.batch_size, workers=config.workers)
    source = open_source(data)
    accelerator = build_accelerator(Run(device=config.device))
    numbers: dict[str, Any] = {"checkpoint": str(path), "arch": content["arch"], "epoch": content["epoch"]}
    model = model.to(accelerator.device)
    numbers |= evaluate(model, source, data, accelerator)
    if config.json_file:
        Path(config.json_file).write_text(json.dumps(numbers) + "\n")
    if config.picture:
        from reid.pictures import ranked_lists

        ranked_lists(model, source, data, accelerator, Path(config.picture))
    return numbers


if __name__ == "__main__":
    sys.exit(main())
