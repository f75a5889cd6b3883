"""Train the re-identification network of a config."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from engine.errors import check_ranges
from engine.job import Job
from engine.loader import EpochLoader
from engine.loop import Trainer
from engine.parser import dump
from engine.run_folder import RunFolder
from engine.seed import generator, seed_process
from engine.setup import build_accelerator, build_engine
from imagesets.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from keepcore.draws import BatchShard
from reid.config import Config
from reid.dataset_layouts import open_source
from reid.evaluation.training_metric import evaluate_network
from reid.model import build_model
from reid.photos import Photos, train_transform
from reid.sampler import identity_batches
from reid.step import build_step


def train(config: Config) -> dict[str, Any]:
    """Train the network of a config.

    Returns:
        The last row of metrics.jsonl.

    Raises:
        UserError: the config is invalid.

    Source: Gong et al., CVPR 2021, Sec. 4.4; Luo et al., CVPRW 2019.
    """
    accelerator = build_accelerator(config)
    _check(config)
    share = BatchShard(accelerator.process_index, accelerator.num_processes)
    source, data = open_source(config.data), config.data
    seed_process(config.seed, share.rank)
    label_of = {person: label for label, person in enumerate(source.people)}
    labels = [label_of[photo.person] for photo in source.train]
    plan = identity_batches(labels, data.identities, data.images, config.seed, **share._asdict())
    dataset = Photos(source.train, labels, train_transform(data))
    loader = EpochLoader(dataset, plan, config.seed, workers=data.workers, pin=accelerator.device.type == "cuda")
    model = build_model(config, len(source.people))
    extra = []
    if model.centres is not None:
        # The published code divides the centres' gradient by the loss weight; this rate is equivalent.
        extra = [torch.optim.SGD([model.centres], config.loss.centre_lr / config.loss.centre)]
    own = [p for name, p in model.named_parameters() if name != "centres" and p.requires_grad]
    engine = build_engine(config, accelerator, model, len(loader), extra, own)
    draws = generator(config.seed, "augment")
    engine.generators["augment"] = draws
    job = Job(
        loader=loader,
        step=build_step(
            config, engine.model, model, Normalize(IMAGENET_MEAN, IMAGENET_STD), draws, share, accelerator.autocast
        ),
        evaluate=partial(evaluate_network, source=source, data=data, accelerator=accelerator),
        headline="mAP",
        export=lambda module: module,
        meta={
            "arch": config.model.name,
            "num_classes": len(source.people),
            "input": json.dumps({"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "size": [data.height, data.width]}),
            "config": dump(config),
        },
    )
    folder = RunFolder(Path(config.output), writes=accelerator.is_main_process)
    folder.open(config)
    if not config.model.weights and accelerator.is_main_process:
        print(
            "remark: the backbone starts from random weights; --model.weights timm uses ImageNet's",
            file=sys.stderr,
        )
    return Trainer(engine, job, config, folder).fit()


def _check(config: Config) -> None:
    """Check that the options are within their ranges.

    Raises:
        UserError: an option is out of range.
    """
    check_ranges(config.data, "data.", height=(1, None), width=(1, None), padding=(0, None), hflip=(0, 1))
    check_ranges(config.data, "data.", identities=(2, None), images=(2, None))
    check_ranges(config.data, "data.", eval_batch_size=(1, None), workers=(0, None))
    check_ranges(
        config.loss, "loss.", label_smoothing=(0, 1), margin=(0, None), centre=(0, None), centre_lr=(0, None)
    )
