"""``python -m semi_supervised.train --config RECIPE [--field value]``: train from few labels."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keepcore.run.cli import dump, parse
from keepcore.run.errors import guard
from semi_supervised.config import RECIPES, Config

if TYPE_CHECKING:
    from accelerate import Accelerator

    from semi_supervised.data import PairLoader, Source

PROG = "python -m semi_supervised.train"


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and train; returns the exit code."""

    def command() -> None:
        train(parse(Config, argv, prog=PROG, description=str(__doc__), recipes=RECIPES))

    return guard(command)


def train(config: Config) -> dict[str, Any]:
    """Train the classifier of a config.

    Args:
        config: of the run.

    Returns:
        The last row of metrics.jsonl.

    Raises:
        UserError: anything in the config that cannot be done.

    Source: Gong et al., CVPR 2021, Sec. 4.3; Xie et al., NeurIPS 2020.
    """
    from keepcore.run.engine import build_accelerator, build_engine
    from keepcore.run.folder import RunFolder
    from keepcore.run.images import Normalize
    from keepcore.run.loop import Job, Progress, fit
    from keepcore.run.seed import generator, seed_process
    from semi_supervised.data import MEAN, STD, open_source
    from semi_supervised.evaluate import evaluate
    from semi_supervised.model import create
    from semi_supervised.split import fingerprint, labelled_subset
    from semi_supervised.step import build_step

    accelerator = build_accelerator(config)
    source = open_source(config.data)
    num_classes = len(source.train.classes)
    labelled = labelled_subset(source.train.targets, config.data.labels, config.data.split_seed)
    seed_process(config.seed, accelerator.process_index)
    loader = build_loader(config, source, labelled, accelerator)
    engine = build_engine(config, accelerator, create(config.model, num_classes), len(loader))
    draws = generator(config.seed, "augment", accelerator.process_index)
    engine.generators["augment"] = draws
    done = Progress()
    step = build_step(config, engine.model, num_classes, Normalize(MEAN, STD), done, draws)
    meta = {
        "arch": config.model,
        "num_classes": num_classes,
        "input": json.dumps({"mean": MEAN, "std": STD, "size": config.data.image_size}),
        "config": dump(config),
        "split": json.dumps({"hash": fingerprint(labelled), "indices": labelled}),
    }
    scored = partial(evaluate, source=source, data=config.data, accelerator=accelerator)
    job = Job(loader, step, scored, "top1", lambda module: module, meta, done)
    folder = RunFolder(Path(config.output), writes=accelerator.is_main_process)
    folder.open(config)
    return fit(engine, job, config, folder)


def build_loader(config: Config, source: Source, labelled: Sequence[int], accelerator: Accelerator) -> PairLoader:
    """Build both streams; the unlabelled one holds all training images, as in UDA's code.

    Source: google-research/uda image/preprocess.py.
    """
    from keepcore.run.loader import EpochLoader
    from semi_supervised.data import PairLoader, Views, strong_transform, weak_transform
    from semi_supervised.split import endless

    data, shares = config.data, (accelerator.process_index, accelerator.num_processes)
    weak, strong = weak_transform(data), strong_transform(data, config.uda)
    few = Views(source.train, list(labelled), [weak])
    many = Views(source.train, range(len(source.train)), [weak, strong])
    plans = (
        endless(len(few), data.labelled_batch, data.steps_per_epoch, config.seed, "labelled", *shares),
        endless(len(many), data.unlabelled_batch, data.steps_per_epoch, config.seed, "unlabelled", *shares),
    )
    pin = accelerator.device.type == "cuda"
    loaders = [
        EpochLoader(views, plan, config.seed, workers=data.workers, pin=pin)
        for views, plan in zip((few, many), plans, strict=True)
    ]
    return PairLoader(*loaders)


if __name__ == "__main__":
    sys.exit(main())
