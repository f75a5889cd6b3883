"""``python -m semi_supervised.train --config RECIPE [--field value]``: train from few labels."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.command import dump, parse
from engine.errors import UserError, guard
from engine.ranges import within
from semi_supervised.config import RECIPES, Config
from semi_supervised.grid import GRID

if TYPE_CHECKING:
    from torch import nn

    from engine.setup import Engine

PROG = "python -m semi_supervised.train"


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and train; returns the exit code."""

    def command() -> None:
        train(read_config(argv))

    return guard(command)


def read_config(argv: Sequence[str] | None) -> Config:
    """Read the command line: recipes, cells of Table 9 and beyond, and flags.

    Raises:
        UserError: see :func:`engine.command.parse`.
    """
    description = str(__doc__)
    return parse(Config, argv, prog=PROG, description=description, recipes=RECIPES, more_recipes=GRID.recipes)


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
    from engine.loop import Job, Progress, fit
    from engine.run_folder import RunFolder
    from engine.seed import generator, seed_process
    from engine.setup import build_accelerator, build_engine
    from imagesets.images import Normalize
    from keepcore import without_early_head
    from keepcore.draws import BatchShard
    from semi_supervised.data import MEAN, STD, build_loader, open_parts, resident
    from semi_supervised.evaluate import evaluate
    from semi_supervised.model import build_model
    from semi_supervised.step import build_step
    from semi_supervised.strong import build_strong

    accelerator, data = build_accelerator(config), config.data
    share = BatchShard(accelerator.process_index, accelerator.num_processes)
    check(config)
    opened = open_parts(data, config.seed, unlabelled=crops_of(config) > 0)
    seed_process(config.seed, share.rank)
    loader = build_loader(data, opened, crops_of(config), config.seed, accelerator.device, share)
    engine = build_engine(config, accelerator, build_model(config, len(opened.classes)), len(loader))
    draws = (generator(config.seed, "strong"), generator(config.seed, "keep"))
    engine.generators |= {"strong": draws[0], "keep": draws[1]}
    normalize, done = Normalize(MEAN, STD), Progress()
    strong = build_strong(config, guide_of(config, engine), normalize, draws, share)
    val = resident(opened.val, data) or opened.val
    job = Job(
        loader=loader,
        step=build_step(config, engine.model, strong, normalize, done, len(opened.classes)),
        evaluate=partial(evaluate, images=val, data=data, accelerator=accelerator),
        headline="top1",
        export=without_early_head,
        meta={
            "arch": config.model,
            "num_classes": len(opened.classes),
            "options": json.dumps(config.model_options),
            "classes": json.dumps(opened.classes),
            "input": json.dumps({"mean": MEAN, "std": STD, "size": data.image_size}),
            "config": dump(config),
            "split": json.dumps(opened.split),
        },
        progress=done,
    )
    folder = RunFolder(Path(config.output), writes=accelerator.is_main_process)
    folder.open(config)
    if folder.resumes:
        same_split(folder.last, opened.split["hash"])
    return fit(engine, job, config, folder)


def check(config: Config) -> None:
    """Refuse numbers out of range.

    Raises:
        UserError: names the option.
    """
    within(config.data, "data.", image_size=(4, 4096), padding=(0, None), hflip=(0, 1), workers=(0, None))
    within(config.data, "data.", eval_batch_size=(1, None), steps_per_epoch=(1, 10**7))
    within(config.data, "data.", labelled_batch=(1, 10**6), unlabelled_batch=(1, 10**6))
    side, length = config.data.image_size, config.augment.length
    if config.augment.op == "paste" and isinstance(length, int) and not 0 < length <= side:
        raise UserError(f"augment.length: a box of {length} px does not fit inside an image of {side} px")


def same_split(last: Path, wanted: str) -> None:
    """Refuse to go on with other labelled images than those that a run began with.

    Raises:
        UserError: another split.
    """
    from engine import checkpoint

    content = checkpoint.load(last)
    checkpoint.expect(content, last, "semi_supervised.train", split=str)
    if json.loads(content["split"])["hash"] != wanted:
        raise UserError(f"{last} has other labelled images: give its --data.labels, --seed, label_file")


def crops_of(config: Config) -> int:
    """Count the crops that the step needs of each unlabelled image.

    Source: google-research/uda image/data.py (independent crops of the weak and the strong view).
    """
    if config.loss.weight == 0 and config.loss.entropy == 0:
        return 0
    return 1 if config.strong.shared_crop else 2


def guide_of(config: Config, engine: Engine) -> Callable[[], nn.Module]:
    """Say whose saliency decides.

    Raises:
        UserError: unknown ``guide.model``, or the averaged network where there is none.

    Source: Gong et al., CVPR 2021, Sec. 4.3 (the network in training).
    """
    ema = engine.ema
    if config.guide.model == "student":
        return lambda: engine.model
    if config.guide.model != "ema":
        raise UserError(f"guide.model must be student or ema, got {config.guide.model!r}")
    if ema is None:
        raise UserError("guide.model: ema needs an averaged network: give --ema_decay, e.g. 0.999")
    return lambda: ema.module


if __name__ == "__main__":
    sys.exit(main())
