"""``python -m pretrain.evaluate CHECKPOINT``: accuracy of a trained backbone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UserError, guard

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

    from imagesets.classification import Source
    from pretrain.config import Data

PROG = "python -m pretrain.evaluate"


@dataclass(frozen=True)
class EvaluateConfig:
    """Evaluate a backbone on the validation part of its data set.

    Attributes:
        checkpoint: a .pth of pretrain.train, or its run folder (then last.pth).
        use: auto (averaged weights where there are any), ema or raw.
        split: val, or train (clean training images).
        root: folder of the data; "" takes the one of training.
        batch_size: images per batch.
        workers: data processes.
        device: auto, cpu, cuda, mps.
        json_file: also write the numbers here.
    """

    checkpoint: str
    use: str = "auto"
    split: str = "val"
    root: str = ""
    batch_size: int = 256
    workers: int = 2
    device: str = "auto"
    json_file: str = ""


def evaluate(model: nn.Module, source: Source, data: Data, accelerator: Accelerator) -> dict[str, float]:
    """Measure top-1 and top-5 accuracy; every image counts exactly once over all processes.

    Args:
        model: images -> logits_BK; left in the mode it came in.
        source: data set.
        data: evaluation size and batch.
        accelerator: devices and processes.

    Returns:
        ``top1`` and ``top5`` in percent, ``val_loss``.
    """
    import torch
    import torch.nn.functional as F

    from imagesets.images import Normalize, on_device
    from keepcore import borrowed

    normalize = Normalize(source.mean, source.std)
    totals_4 = torch.zeros(4, dtype=torch.float32, device=accelerator.device)
    with torch.no_grad(), borrowed(model) as network, accelerator.autocast():
        for images_BCHW, labels_B, *replaced_B in on_device(
            _batches(source, data, accelerator), accelerator.device
        ):
            logits_BK = network(normalize(images_BCHW)).float()
            best_B5 = logits_BK.topk(min(5, logits_BK.shape[1]), dim=1).indices
            counted_B = replaced_B[0] == 0 if replaced_B else torch.ones_like(labels_B, dtype=torch.bool)
            hits_B5 = (best_B5 == labels_B[:, None]) & counted_B[:, None]
            loss = (F.cross_entropy(logits_BK, labels_B, reduction="none") * counted_B).sum()
            totals_4 += torch.stack([hits_B5[:, 0].sum(), hits_B5.any(1).sum(), loss, counted_B.sum()])
    top1, top5, loss_sum, images = accelerator.reduce(totals_4).tolist()
    return {"top1": 100 * top1 / images, "top5": 100 * top5 / images, "val_loss": loss_sum / images}


def _batches(source: Source, data: Data, accelerator: Accelerator) -> Iterable[Any]:
    """Give this process's validation batches; images that cannot be read are marked and do not count."""
    from torch.utils.data import DataLoader, IterableDataset

    from engine.loader import EpochLoader, in_order
    from pretrain.data import Transformed, eval_transform
    from pretrain.stream import Streamed

    transform = eval_transform(data)
    if isinstance(source.val, IterableDataset):
        source.val.set_loader_cfg(num_workers=data.workers)  # type: ignore[attr-defined]
        streamed = Streamed(source.val, transform)
        return DataLoader(streamed, batch_size=data.eval_batch_size, num_workers=data.workers)
    dataset = Transformed(source.val, transform, data.on_corrupt)
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    return EpochLoader(dataset, in_order(mine, data.eval_batch_size), 0, workers=data.workers)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and evaluate; returns the exit code."""

    def command() -> None:
        from engine.command import parse, with_positional

        config = parse(EvaluateConfig, with_positional(argv, "checkpoint"), prog=PROG, description=str(__doc__))
        print(json.dumps(evaluate_checkpoint(config)))

    return guard(command)


def evaluate_checkpoint(config: EvaluateConfig) -> dict[str, Any]:
    """Rebuild a network from its checkpoint alone and evaluate it.

    Raises:
        UserError: the file is no checkpoint of pretrain.train, or its classes are not those of the data.
    """
    from engine.config import Run
    from engine.setup import build_accelerator
    from pretrain.trained import load_trained, open_data

    if config.split not in ("val", "train"):
        raise UserError(f"split must be val or train, got {config.split!r}")
    trained = load_trained(config.checkpoint, config.use)
    path, content, model = trained.path, trained.content, trained.model
    data, source = open_data(trained, config.root)
    data = replace(data, eval_batch_size=config.batch_size, workers=config.workers)
    if config.split == "train":
        source = replace(source, val=source.train)
    accelerator = build_accelerator(Run(device=config.device))
    numbers = evaluate(model.to(accelerator.device), source, data, accelerator)
    numbers = {"checkpoint": str(path), "arch": content["arch"], "epoch": content["epoch"], **numbers}
    if config.json_file:
        Path(config.json_file).write_text(json.dumps(numbers) + "\n")
    return numbers


if __name__ == "__main__":
    sys.exit(main())
