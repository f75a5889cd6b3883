"""Top-1 accuracy, during training and of a checkpoint."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from engine.config import TrainingConfig
from engine.loader import on_device
from engine.metrics_log import median_of_last
from engine.setup import build_accelerator
from imagesets.normalize import Normalize
from keepcore import borrowed
from keepcore.draws import BatchShard
from networks.load_run import check_classes
from semi_supervised.config import Data
from semi_supervised.data import eval_batches, open_source
from semi_supervised.evaluate import EvaluateOptions
from semi_supervised.load_run import load_trained


def evaluate(model: nn.Module, images: Any, data: Data, accelerator: Accelerator) -> dict[str, float]:
    """Measure top-1 accuracy; every image counts exactly once across all processes.

    Args:
        model: network to evaluate.
        images: validation part.
        data: data options of the run.
        accelerator: accelerator of the run.

    Returns:
        ``top1`` in percent.
    """
    loader = eval_batches(images, data, BatchShard(accelerator.process_index, accelerator.num_processes))
    normalize, totals_2 = Normalize(data.mean, data.std), torch.zeros(2, device=accelerator.device)
    with torch.no_grad(), borrowed(model) as network:
        for images_BCHW, labels_B in on_device(loader, accelerator.device):
            with accelerator.autocast():
                logits_BK = network(normalize(images_BCHW))
            right = (logits_BK.argmax(1) == labels_B).sum()
            totals_2 += torch.stack([right, torch.tensor(len(labels_B), device=right.device)])
    right, count = accelerator.reduce(totals_2).tolist()
    return {"top1": 100 * right / count}


def report_accuracy(options: EvaluateOptions) -> None:
    """Evaluate and print; implements ``python -m semi_supervised.evaluate``.

    Raises:
        UserError: the file was not written by semi_supervised.train, or its classes differ from those of the data.
    """
    trained = load_trained(options.checkpoint)
    data = replace(trained.config.data, root=options.root or trained.config.data.root)
    accelerator = build_accelerator(TrainingConfig(device=options.device))
    source = open_source(data)
    check_classes(trained, source.classes, data.root or data.dataset)
    numbers: dict[str, Any] = evaluate(trained.model.to(accelerator.device), source.val, data, accelerator)
    if Path(options.checkpoint).is_dir():
        numbers["top1_median_last20"] = median_of_last(Path(options.checkpoint))
    print(json.dumps({"checkpoint": str(trained.path), "epoch": trained.content["epoch"], **numbers}))
