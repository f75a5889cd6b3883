"""``python -m semi_supervised.evaluate RUN``: accuracy of a trained classifier."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UserError, guard
from semi_supervised.config import Data

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

PROG = "python -m semi_supervised.evaluate"


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluate a classifier on the validation part of its data set.

    Attributes:
        checkpoint: a .pth of semi_supervised.train, or its run folder (then last.pth).
        root: folder of the data; "" takes the one of training.
        device: auto, cpu, cuda, mps.
    """

    checkpoint: str
    root: str = ""
    device: str = "auto"


def evaluate(model: nn.Module, images: Any, data: Data, accelerator: Accelerator) -> dict[str, float]:
    """Measure top-1 accuracy; every image counts exactly once over all processes.

    Args:
        model: to evaluate.
        images: validation part.
        data: of the run.
        accelerator: of the run.

    Returns:
        ``top1`` in percent.
    """
    import torch

    from imagesets.images import Normalize, on_device
    from keepcore import borrowed
    from keepcore.draws import BatchShard
    from semi_supervised.data import MEAN, STD, eval_batches

    loader = eval_batches(images, data, BatchShard(accelerator.process_index, accelerator.num_processes))
    normalize, totals_2 = Normalize(MEAN, STD), torch.zeros(2, device=accelerator.device)
    with torch.no_grad(), borrowed(model) as network, accelerator.autocast():
        for images_BCHW, labels_B in on_device(loader, accelerator.device):
            right = (network(normalize(images_BCHW)).argmax(1) == labels_B).sum()
            totals_2 += torch.stack([right, torch.tensor(len(labels_B), device=right.device)])
    right, count = accelerator.reduce(totals_2).tolist()
    return {"top1": 100 * right / count}


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and evaluate; returns the exit code."""

    def command() -> None:
        from engine.command import parse, with_positional
        from engine.config import Run
        from engine.metrics_log import median_of_last
        from engine.setup import build_accelerator
        from semi_supervised.data import open_source
        from semi_supervised.trained import load_trained

        config = parse(EvaluateConfig, with_positional(argv, "checkpoint"), prog=PROG, description=str(__doc__))
        trained = load_trained(config.checkpoint)
        data = replace(trained.config.data, root=config.root or trained.config.data.root)
        accelerator = build_accelerator(Run(device=config.device))
        source = open_source(data)
        if json.dumps(source.classes) != trained.content["classes"]:
            raise UserError(f"{trained.path} has other classes than {data.root or data.dataset}")
        model = trained.model.to(accelerator.device)
        numbers: dict[str, Any] = evaluate(model, source.val, data, accelerator)
        if Path(config.checkpoint).is_dir():
            numbers["top1_median_last20"] = median_of_last(Path(config.checkpoint))
        print(json.dumps({"checkpoint": str(trained.path), "epoch": trained.content["epoch"], **numbers}))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
