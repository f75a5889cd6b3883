"""``python -m pretrain.train --config RECIPE [--field value]``: train a backbone."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from keepcore.run.cli import dump, parse
from keepcore.run.errors import guard
from pretrain.config import RECIPES, Config

PROG = "python -m pretrain.train"


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and train; returns the exit code."""

    def command() -> None:
        config = parse(Config, argv, prog=PROG, description=str(__doc__), recipes=RECIPES)
        train(config)

    return guard(command)


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
    from keepcore import without_early_head
    from keepcore.run.engine import build_accelerator, build_engine
    from keepcore.run.folder import RunFolder
    from keepcore.run.images import Normalize
    from keepcore.run.loop import Job, fit
    from keepcore.run.seed import generator, seed_process
    from pretrain.data import open_source
    from pretrain.evaluate import evaluate
    from pretrain.loaders import build_loader
    from pretrain.model import build_model
    from pretrain.step import build_step

    accelerator = build_accelerator(config)
    rank, processes = accelerator.process_index, accelerator.num_processes
    source = open_source(config.data)
    seed_process(config.seed, rank)
    loader = build_loader(config, source.train, accelerator.device, rank, processes)
    model = build_model(config, len(source.classes))
    draws = generator(config.seed, "augment", rank)
    normalize = Normalize(source.mean, source.std)
    engine = build_engine(config, accelerator, model, len(loader))
    engine.generators["augment"] = draws
    job = Job(
        loader=loader,
        step=build_step(config, engine.model, normalize, len(source.classes), draws),
        evaluate=partial(evaluate, source=source, data=config.data, accelerator=accelerator),
        headline="top1",
        export=without_early_head,
        meta=_meta(config, source),
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
