"""``python -m semi_supervised.evaluate CHECKPOINT``: accuracy of a trained classifier."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from keepcore.run.errors import UserError, guard
from semi_supervised.config import Config, Data

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

    from semi_supervised.data import Source

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


def evaluate(model: nn.Module, source: Source, data: Data, accelerator: Accelerator) -> dict[str, float]:
    """Measure top-1 accuracy; every image counts exactly once over all processes.

    Returns:
        ``top1`` in percent.

    Source: elementary.
    """
    import torch

    from keepcore import borrowed
    from keepcore.run.images import Normalize, on_device
    from keepcore.run.loader import EpochLoader, in_order
    from semi_supervised.data import MEAN, STD, Views, eval_transform

    views = Views(source.val, range(len(source.val)), [eval_transform(data)])
    mine = range(accelerator.process_index, len(views), accelerator.num_processes)
    loader = EpochLoader(views, in_order(mine, data.eval_batch_size), 0, workers=data.workers)
    normalize, totals_2 = Normalize(MEAN, STD), torch.zeros(2, device=accelerator.device)
    with torch.no_grad(), borrowed(model) as network, accelerator.autocast():
        for (images,), labels_B in on_device(loader, accelerator.device):
            right = (network(normalize(images)).argmax(1) == labels_B).sum()
            totals_2 += torch.stack([right, torch.tensor(len(labels_B), device=right.device)])
    right, count = accelerator.reduce(totals_2).tolist()
    return {"top1": 100 * right / count}


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and evaluate; returns the exit code."""

    def command() -> None:
        from keepcore.run import checkpoint
        from keepcore.run.cli import from_yaml, parse, with_positional
        from keepcore.run.config import Run
        from keepcore.run.engine import build_accelerator
        from semi_supervised.data import open_source
        from semi_supervised.model import create

        config = parse(EvaluateConfig, with_positional(argv, "checkpoint"), prog=PROG, description=str(__doc__))
        path = Path(config.checkpoint)
        path = path / "last.pth" if path.is_dir() else path
        content = checkpoint.load(path)
        if "split" not in content:
            raise UserError(f"{path} was not written by semi_supervised.train")
        trained = from_yaml(Config, content["config"])
        data = replace(trained.data, root=config.root or trained.data.root)
        model = create(content["arch"], content["num_classes"])
        checkpoint.load_weights(model, content.get("state_dict_ema", content["state_dict"]), path)
        accelerator = build_accelerator(Run(device=config.device))
        numbers = evaluate(model.to(accelerator.device), open_source(data), data, accelerator)
        print(json.dumps({"checkpoint": str(path), "epoch": content["epoch"], **numbers}))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
