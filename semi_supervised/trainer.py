"""Train the classifier of a config."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from engine import checkpoint
from engine.errors import UserError, check_ranges
from engine.job import Job, Progress
from engine.loop import Trainer
from engine.parser import dump
from engine.run_folder import RunFolder
from engine.seed import generator, seed_process
from engine.setup import Engine, build_accelerator, build_engine
from imagesets.normalize import Normalize
from keepcore import without_early_head
from keepcore.draws import BatchShard
from networks.metadata import check_normalisation
from semi_supervised.accuracy import evaluate
from semi_supervised.config import Config
from semi_supervised.data import build_loader, open_parts, resident
from semi_supervised.inputs import with_inputs
from semi_supervised.model import build_model
from semi_supervised.step import build_step
from semi_supervised.strong import build_strong


def train(config: Config) -> dict[str, Any]:
    """Train the classifier of a config.

    Returns:
        The last row of metrics.jsonl.

    Raises:
        UserError: the config is invalid or cannot be run.

    Source: Gong et al., CVPR 2021, Sec. 4.3; Xie et al., NeurIPS 2020.
    """
    given, config = config, with_inputs(config)
    accelerator, data = build_accelerator(config), config.data
    share = BatchShard(accelerator.process_index, accelerator.num_processes)
    _check(config)
    opened = open_parts(data, config.seed, unlabelled=crops_of(config) > 0)
    seed_process(config.seed, share.rank)
    loader = build_loader(data, opened, crops_of(config), config.seed, accelerator.device, share)
    engine = build_engine(config, accelerator, build_model(config, len(opened.classes)), len(loader))
    draws = (generator(config.seed, "strong"), generator(config.seed, "keep"))
    engine.generators |= {"strong": draws[0], "keep": draws[1]}
    normalize, progress = Normalize(data.mean, data.std), Progress()
    strong = build_strong(config, guide_of(config, engine), normalize, draws, share, accelerator.autocast)
    val = resident(opened.val, data) or opened.val
    job = Job(
        loader=loader,
        step=build_step(config, engine.model, strong, normalize, progress, len(opened.classes)),
        evaluate=partial(evaluate, images=val, data=data, accelerator=accelerator),
        headline="top1",
        export=without_early_head,
        meta={
            "arch": config.model,
            "num_classes": len(opened.classes),
            "options": json.dumps(config.model_options),
            "classes": json.dumps(opened.classes),
            "input": json.dumps({"mean": data.mean, "std": data.std, "size": data.image_size}),
            "config": dump(config),
            "split": json.dumps(opened.split),
        },
        progress=progress,
    )
    folder = RunFolder(Path(config.output), writes=accelerator.is_main_process)
    folder.open(given)
    if folder.resumes:
        check_split(folder.last, opened.split["hash"])
    return Trainer(engine, job, config, folder).fit()


def _check(config: Config) -> None:
    """Check that the numbers are in range.

    Raises:
        UserError: an option is out of range.
    """
    check_ranges(config.data, "data.", image_size=(4, 4096), padding=(0, None), hflip=(0, 1), workers=(0, None))
    check_ranges(config.data, "data.", eval_batch_size=(1, None), steps_per_epoch=(1, 10**7))
    check_ranges(config.data, "data.", labelled_batch=(1, 10**6), unlabelled_batch=(1, 10**6))
    for name in ("mean", "std"):
        check_normalisation(f"data.{name}", getattr(config.data, name))


def check_split(last: Path, expected: str) -> None:
    """Check that a resumed run uses the same labelled images as before.

    Raises:
        UserError: the split is different.
    """
    content = checkpoint.load(last)
    checkpoint.expect(content, last, "semi_supervised.train", split=str)
    if json.loads(content["split"])["hash"] != expected:
        raise UserError(
            f"{last} has different labelled images: use its --data.labels, --seed and --data.label_file"
        )


def crops_of(config: Config) -> int:
    """Return the number of crops of each unlabelled image that the step needs.

    Source: google-research/uda image/data.py (independent crops of the weak and the strong view).
    """
    if config.loss.weight == 0 and config.loss.entropy == 0:
        return 0
    return 1 if config.strong.shared_crop else 2


def guide_of(config: Config, engine: Engine) -> Callable[[], nn.Module]:
    """Return a function that returns the network whose saliency is used.

    Raises:
        UserError: the averaged network is selected, but the run does not keep one.

    Source: Gong et al., CVPR 2021, Sec. 4.3 (the network in training).
    """
    ema = engine.ema
    if config.guide.model == "student":
        return lambda: engine.model
    if ema is None:
        raise UserError("guide.model: ema needs an averaged network: set --ema_decay, e.g. 0.999")
    return lambda: ema.module
