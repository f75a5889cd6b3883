"""``python -m pretrain.train --config RECIPE [--field value]``: train a backbone."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from engine.command import dump, parse
from engine.errors import guard
from pretrain.config import RECIPES, Config
from pretrain.grid import GRID

PROG = "python -m pretrain.train"


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and train; returns the exit code."""

    def command() -> None:
        train(read_config(argv))

    return guard(command)


def read_config(argv: Sequence[str] | None) -> Config:
    """Read the command line: recipes, cells of the paper's tables, and flags.

    Raises:
        UserError: see :func:`engine.command.parse`.
    """
    description = str(__doc__)
    return parse(Config, argv, prog=PROG, description=description, recipes=RECIPES, more_recipes=GRID.recipes)


def train(config: Config) -> dict[str, Any]:
    """Train the backbone of a config.

    Args:
        config: of the run.

    Returns:
        The last row of metrics.jsonl.

    Raises:
        UserError: anything in the config that cannot be done.

    Source: Gong et al., CVPR 2021, Sec. 4.1 and 4.2.
    """
    from engine.loop import Job, Progress, fit
    from engine.ranges import within
    from engine.run_folder import RunFolder
    from engine.seed import generator, seed_process
    from engine.setup import build_accelerator, build_engine
    from imagesets.images import Normalize
    from keepcore import without_early_head
    from keepcore.draws import BatchShard
    from pretrain.data import open_source, synthetic_source
    from pretrain.evaluate import evaluate
    from pretrain.loaders import build_loader
    from pretrain.model import build_model
    from pretrain.step import build_step
    from pretrain.trained import load_attention

    accelerator = build_accelerator(config)
    share = BatchShard(accelerator.process_index, accelerator.num_processes)
    data = config.data
    within(data, "data.", image_size=(1, None), eval_size=(0, None), padding=(0, None), hflip=(0, 1))
    within(data, "data.", batch_size=(1, None), eval_batch_size=(1, None), workers=(0, None), jitter=(0, None))
    seed_process(config.seed, share.rank)
    source = (
        synthetic_source(data)
        if config.synthetic
        else open_source(data, data.batch_size // share.processes, config.seed)
    )
    loader = build_loader(config, source.train, accelerator.device, share.rank, share.processes)
    progress, draws = Progress(), generator(config.seed, "augment")
    model = build_model(config, len(source.classes), progress)
    engine = build_engine(config, accelerator, model, len(loader))
    mixing = generator(config.seed, "baseline", share.rank)
    engine.generators |= {"augment": draws, "baseline": mixing}
    normalize, classes = Normalize(source.mean, source.std), len(source.classes)
    attention = load_attention(config, accelerator.device)
    step = build_step(config, engine.model, normalize, classes, (draws, mixing), progress, share, attention)
    job = Job(
        loader=loader,
        step=step,
        evaluate=partial(evaluate, source=source, data=data, accelerator=accelerator),
        headline="top1",
        export=without_early_head,
        meta=_meta(config, source),
        progress=progress,
    )
    folder = RunFolder(Path(config.output), writes=accelerator.is_main_process)
    folder.open(config)
    return fit(engine, job, config, folder)


def _meta(config: Config, source: Any) -> dict[str, Any]:
    """Describe the network for evaluation, export and conversion."""
    return {
        "arch": config.model.name,
        "num_classes": len(source.classes),
        "options": json.dumps(config.model.options),
        "input": json.dumps({"mean": source.mean, "std": source.std, "size": config.data.image_size}),
        "classes": json.dumps(source.classes),
        "config": dump(config),
    }


if __name__ == "__main__":
    sys.exit(main())
