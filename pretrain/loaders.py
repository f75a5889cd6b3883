"""Training batches: from data workers, or from images held on the device as uint8."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import IterableDataset

from engine.errors import UserError, check_choices
from engine.job import Loader
from engine.loader import BatchPlan, EpochLoader, shuffled
from engine.seed import generator
from imagesets.classification import Records
from imagesets.resident import CropDraws, ResidentLoader
from pretrain.config import Config, Data, Policy
from pretrain.data import Transformed, in_workers, train_transform
from pretrain.stream import StreamLoader


def is_resident(data: Data, policy: Policy, records: Any) -> bool:
    """Decide whether a data set is held on the device.

    Args:
        data: ``resident`` is auto, yes or no.
        policy: a policy runs in the data workers, so the images must stay there.
        records: the opened training part.

    Returns:
        True for ``yes``, and for ``auto`` where it is possible.

    Raises:
        UserError: ``yes`` where it is not possible; says why.

    Source: the GPU loader of cifar10-airbench, read for the idea.
    """
    check_choices(data, "data.")
    reasons = {
        "the images of this data set are not in memory": not isinstance(records, Records),
        "data.crop is not pad": data.crop != "pad",
        "policy.name runs in the data workers": policy.name != "none",
        "data.jitter runs in the data workers": data.jitter != 0,
        "data.image_size is not the size of the images": isinstance(records, Records)
        and records.images_NHWC.shape[1:3] != (data.image_size, data.image_size),
    }
    blocking = [reason for reason, holds in reasons.items() if holds]
    if data.resident == "yes" and blocking:
        raise UserError(f"data.resident: yes is not possible: {'; '.join(blocking)}")
    return data.resident != "no" and not blocking


def resident_loader(
    records: Records, plan: BatchPlan, seed: int, *, device: torch.device, padding: int = 0, hflip: float = 0.0
) -> ResidentLoader:
    """Hold images on the device; a sample's crop and flip depend on (seed, epoch, index) alone.

    Args:
        records: uint8 images N x H x W x 3 with labels.
        plan: epoch -> batches of indices of this process.
        seed: of the run.
        device: where the images live.
        padding: black pixels around the image, of which the crop takes H x W.
        hflip: chance of a horizontal flip.

    Returns:
        Batches of ([clean_BCHW], labels_B).

    Source: uoguelph-mlrg/Cutout train.py (crop with zero padding, then flip).
    """
    images_NCHW = torch.as_tensor(records.images_NHWC).permute(0, 3, 1, 2).contiguous()
    height, width = images_NCHW.shape[2:]
    padded_NCHW = F.pad(images_NCHW.to(device), (padding,) * 4)
    labels_N = torch.tensor(records.labels, device=device)

    def draw(epoch: int, skip: int) -> Iterator[CropDraws]:
        draws, count = generator(seed, "crop", epoch), len(records.labels)
        offsets_N2 = torch.randint(2 * padding + 1, (count, 2), generator=draws).to(device)
        flips_N = (torch.rand(count, generator=draws) < hflip).to(device)
        for batch in plan(epoch)[skip:]:
            index_B = torch.tensor(batch).to(device, non_blocking=True)
            yield CropDraws(index_B, [(offsets_N2[index_B], flips_N[index_B])])

    return ResidentLoader(padded_NCHW, labels_N, (height, width), len(plan(0)), draw)


def build_loader(config: Config, images: Any, device: torch.device, rank: int, processes: int) -> Loader:
    """Choose how training batches come: from the device's memory, or from data workers.

    Args:
        config: of the run.
        images: the opened training part.
        device: of the training.
        rank: of this process.
        processes: how many share each batch.

    Returns:
        Batches of (views, labels_B); views are uint8.

    Raises:
        UserError: the batch does not fit the set or the processes, or ``data.resident`` is not possible.
    """
    data = config.data
    if isinstance(images, IterableDataset):
        return StreamLoader(config, images, device, processes)
    plan = shuffled(len(images), data.batch_size, config.seed, rank=rank, processes=processes)
    policy = in_workers(config.policy)
    if is_resident(data, policy, images):
        return resident_loader(images, plan, config.seed, device=device, padding=data.padding, hflip=data.hflip)
    dataset = Transformed(images, train_transform(data, policy), data.on_corrupt)
    return EpochLoader(dataset, plan, config.seed, workers=data.workers, pin=device.type == "cuda")
