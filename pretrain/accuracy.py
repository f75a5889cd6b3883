"""Top-1 and top-5 accuracy, during training and of a checkpoint."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from engine.config import TrainingConfig
from engine.errors import check_ranges
from engine.files import check_targets, write_json
from engine.loader import EpochLoader, in_order, on_device
from engine.setup import build_accelerator
from imagesets.classification import ImageSet
from imagesets.normalize import Normalize
from keepcore import borrowed
from pretrain.config import Data
from pretrain.data import Transformed, eval_transform
from pretrain.evaluate import EvaluateOptions
from pretrain.load_run import load_trained, open_data
from pretrain.stream import Streamed


def evaluate(model: nn.Module, source: ImageSet, data: Data, accelerator: Accelerator) -> dict[str, float]:
    """Measure top-1 and top-5 accuracy; every image counts exactly once across all processes.

    Args:
        model: images -> logits_BK; its training or evaluation mode is restored afterwards.
        source: data set; its validation part is used.
        data: evaluation size and batch size.
        accelerator: device and processes.

    Returns:
        ``top1`` and ``top5`` in percent, and ``val_loss``.
    """
    normalize = Normalize(source.mean, source.std)
    totals_4 = torch.zeros(4, dtype=torch.float32, device=accelerator.device)
    with torch.no_grad(), borrowed(model) as network:
        for images_BCHW, labels_B, *extras in on_device(_batches(source, data, accelerator), accelerator.device):
            with accelerator.autocast():
                logits_BK = network(normalize(images_BCHW))
            logits_BK = logits_BK.float()
            best_B5 = logits_BK.topk(min(5, logits_BK.shape[1]), dim=1).indices
            counted_B = extras[0]["replaced"] == 0 if extras else torch.ones_like(labels_B, dtype=torch.bool)
            hits_B5 = (best_B5 == labels_B[:, None]) & counted_B[:, None]
            loss = (F.cross_entropy(logits_BK, labels_B, reduction="none") * counted_B).sum()
            totals_4 += torch.stack([hits_B5[:, 0].sum(), hits_B5.any(1).sum(), loss, counted_B.sum()])
    top1, top5, loss_sum, images = accelerator.reduce(totals_4).tolist()
    return {"top1": 100 * top1 / images, "top5": 100 * top5 / images, "val_loss": loss_sum / images}


def _batches(source: ImageSet, data: Data, accelerator: Accelerator) -> Iterable[Any]:
    """Return this process's validation batches; unreadable images are marked and do not count."""
    transform = eval_transform(data)
    if isinstance(source.val, IterableDataset):
        source.val.set_loader_cfg(num_workers=data.workers)  # type: ignore[attr-defined]
        streamed = Streamed(source.val, transform)
        return DataLoader(streamed, batch_size=data.eval_batch_size, num_workers=data.workers)
    dataset = Transformed(source.val, transform, data.on_corrupt)
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    return EpochLoader(dataset, in_order(mine, data.eval_batch_size), 0, workers=data.workers)


def evaluate_checkpoint(options: EvaluateOptions) -> dict[str, Any]:
    """Rebuild a network from its checkpoint alone and evaluate it; print and write the numbers.

    Raises:
        UserError: the file was not written by pretrain.train, or its classes differ from those of the data.
    """
    check_ranges(options, batch_size=(1, None), workers=(0, None))
    check_targets(options.json_file)
    trained = load_trained(options.checkpoint, options.use)
    data, source = open_data(trained, options.root)
    data = replace(data, eval_batch_size=options.batch_size, workers=options.workers)
    if options.split == "train":
        source = replace(source, val=source.train)
    accelerator = build_accelerator(TrainingConfig(device=options.device))
    numbers: dict[str, Any] = evaluate(trained.model.to(accelerator.device), source, data, accelerator)
    content = trained.content
    numbers = {"checkpoint": str(trained.path), "arch": content["arch"], "epoch": content["epoch"], **numbers}
    print(json.dumps(numbers))
    write_json(numbers, options.json_file, indent=None)
    return numbers
