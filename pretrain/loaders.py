"""Training batches from data workers, or from uint8 images held in device memory."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import IterableDataset

from engine.errors import UserError, check_choices
from engine.job import Loader
from engine.loader import BatchPlan, EpochLoader, shuffled
from engine.seed import generator
from imagesets.classification import Records
from imagesets.resident import CropDraws, ResidentLoader
from pretrain.config import Config, Data, Policy
from pretrain.crop_windows import IndexedLoader, resident_windows
from pretrain.data import Transformed, in_workers, train_transform
from pretrain.guide import keeps_maps
from pretrain.stream import StreamLoader


def is_resident(data: Data, policy: Policy, records: Any) -> bool:
    """Decide whether a data set is held in device memory.

    Args:
        data: data options; ``resident`` is auto, yes or no.
        policy: the policy that runs in the data workers; with one, the images cannot be resident.
        records: the opened training part.

    Returns:
        True for ``yes``, and for ``auto`` if it is possible.

    Raises:
        UserError: ``yes``, but it is not possible; the message gives the reasons.

    Source: the GPU loader of cifar10-airbench (idea only).
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
        raise UserError(f"data.resident: yes is not possible: {'; '.join(blocking)}; use auto or no")
    return data.resident != "no" and not blocking


def resident_loader(
    records: Records,
    plan: BatchPlan,
    seed: int,
    *,
    device: torch.device,
    padding: int = 0,
    hflip: float = 0.0,
    with_windows: bool = False,
) -> ResidentLoader:
    """Hold images in device memory; a sample's crop and flip depend only on (seed, epoch, index).

    Args:
        records: uint8 images N x H x W x 3 with labels.
        plan: epoch -> batches of indices of this process.
        seed: seed of the run.
        device: device that holds the images.
        padding: width of the black border added before the H x W crop, in pixels.
        hflip: probability of a horizontal flip.
        with_windows: add the windows of the crops to the batches.

    Returns:
        A loader of batches ([clean_BCHW], labels_B), with {"window": window_B4} if with_windows.

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

    def windows(draws: CropDraws) -> dict[str, Tensor]:
        return {"window": resident_windows(draws, padding, (height, width))}

    return ResidentLoader(
        padded_NCHW, labels_N, (height, width), len(plan(0)), draw, windows if with_windows else None
    )


def build_loader(config: Config, images: Any, device: torch.device, rank: int, processes: int) -> Loader:
    """Build the loader of training batches: from a stream, device memory, or data workers.

    Args:
        config: config of the run.
        images: the opened training part.
        device: device to train on.
        rank: rank of this process.
        processes: number of processes that share each batch.

    Returns:
        A loader of batches (views, labels_B); views are uint8.

    Raises:
        UserError: the batch size does not suit the set or the processes, or ``data.resident`` is not possible.
    """
    data, with_windows = config.data, keeps_maps(config)
    if isinstance(images, IterableDataset):
        if with_windows:
            raise UserError("guide.refresh: a stream does not say which image is which: use --guide.refresh 1")
        return StreamLoader(config, images, device, processes)
    plan = shuffled(len(images), data.batch_size, config.seed, rank=rank, processes=processes)
    policy = in_workers(config.policy)
    if is_resident(data, policy, images):
        crops = {"padding": data.padding, "hflip": data.hflip, "with_windows": with_windows}
        resident = resident_loader(images, plan, config.seed, device=device, **crops)
        return IndexedLoader(resident, plan) if with_windows else resident
    dataset = Transformed(
        images,
        train_transform(data, policy, with_windows=with_windows),
        data.on_corrupt,
        with_windows=with_windows,
    )
    loader = EpochLoader(dataset, plan, config.seed, workers=data.workers, pin=device.type == "cuda")
    return IndexedLoader(loader, plan) if with_windows else loader
