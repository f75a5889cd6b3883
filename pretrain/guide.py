"""The network that guides an augmentation, and the maps kept from its earlier steps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import UserError, check_ranges
from imagesets.normalize import Normalize
from keepcore import KeepAugment, MapCache
from keepcore.build import MAPS
from keepcore.cached import due_positions
from keepcore.draws import BatchShard
from networks.open import open_network
from pretrain.config import Config

OWN = ("student", "ema")


def uses_saliency(config: Config) -> bool:
    """Return whether the augmentation of a config computes saliency maps of a network."""
    augment = config.augment
    return augment.op != "none" and augment.selective and augment.control not in MAPS


def keeps_maps(config: Config) -> bool:
    """Return whether maps are kept from one epoch to the next."""
    return config.guide.refresh > 1 and uses_saliency(config)


def check_guide(config: Config) -> None:
    """Refuse options that cannot be combined.

    Raises:
        UserError: an option is out of range, or maps are to be kept where they cannot be.
    """
    guide, augment = config.guide, config.augment
    check_ranges(guide, "guide.", refresh=(1, None), map_size=(1, 256))
    if guide.model == "ema" and not config.ema_decay:
        raise UserError("guide.model: ema needs a moving average: add --ema_decay, e.g. 0.999")
    if guide.model not in OWN and augment.head == "early":
        raise UserError(f"guide.model: {guide.model} has no early head: use --augment.head full")
    if keeps_maps(config) and augment.control == "mean_map":
        raise UserError("guide.refresh: control mean_map averages a batch, not kept maps: use --guide.refresh 1")
    if keeps_maps(config) and config.data.on_corrupt == "skip":
        raise UserError(
            "guide.refresh: maps cannot be kept for images that replace others: use --data.on_corrupt fail"
        )


def open_guide(
    config: Config, num_classes: int, normalize: Normalize, device: torch.device, average: nn.Module | None
) -> nn.Module | None:
    """Return the network whose saliency is used: a checkpoint's, or the average; None is the one in training.

    Args:
        config: config of the run.
        num_classes: K of the run.
        normalize: normalisation of the run, undone for a guide that has another one.
        device: device of the run.
        average: moving average of the network in training, if there is one.

    Raises:
        UserError: the checkpoint cannot be opened, or has another number of classes.
    """
    path = config.guide.model
    if path in OWN or not uses_saliency(config):
        return average if path == "ema" else None
    opened = open_network(str(Path(path).expanduser()), field="guide.model")
    if opened.num_classes != num_classes:
        raise UserError(f"guide.model: {path} has {opened.num_classes} classes instead of {num_classes}")
    own = Normalize(opened.mean, opened.std)
    change = Renormalise(normalize, own)
    return nn.Sequential(change, opened.model).to(device).eval() if change.changes else opened.model.to(device)


class Renormalise(nn.Module):
    """Turns images with one normalisation into those with another."""

    def __init__(self, given: Normalize, wanted: Normalize) -> None:
        super().__init__()
        self.scale_C11: Tensor
        self.shift_C11: Tensor
        self.register_buffer("scale_C11", given.std_C11 / wanted.std_C11)
        self.register_buffer("shift_C11", (given.mean_C11 - wanted.mean_C11) / wanted.std_C11)

    @property
    def changes(self) -> bool:
        """Whether the two differ."""
        return not (
            torch.allclose(self.scale_C11, torch.ones(())) and torch.allclose(self.shift_C11, torch.zeros(()))
        )

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the images with the other normalisation."""
        return images_BCHW * self.scale_C11 + self.shift_C11


@dataclass(frozen=True)
class KeptMaps:
    """Saliency maps of earlier epochs, and a share of each batch computed anew.

    Attributes:
        cache: the maps.
        every: epochs after which an image's map is computed anew.

    Source: a choice of this suite; the paper computes every map at every step.
    """

    cache: MapCache
    every: int

    def maps(
        self,
        operation: KeepAugment,
        model: nn.Module,
        images_BCHW: Tensor,
        labels_B: Tensor,
        extras: dict[str, Any],
        share: BatchShard,
    ) -> Tensor:
        """Return the maps of a batch, after computing those that are due.

        Args:
            operation: computes maps.
            model: the guide.
            images_BCHW: clean, normalised floats.
            labels_B: int64 labels.
            extras: ``index``, ``window`` and ``epoch`` of the batch, as
                :class:`pretrain.crop_windows.IndexedLoader` gives them.
            share: this process's part of the batch.
        """
        device, window_B4 = images_BCHW.device, extras["window"]
        index_cpu_B = extras["index"].cpu_B
        due_D = due_positions(index_cpu_B, extras["epoch"], self.every)
        index_B, due = index_cpu_B.to(device, non_blocking=True), due_D.to(device, non_blocking=True)
        map_DHW = images_BCHW.new_zeros(0)
        if len(due_D):
            everything = len(due_D) == len(index_cpu_B)
            chosen_DCHW, labels_D = (images_BCHW, labels_B) if everything else (images_BCHW[due], labels_B[due])
            map_DHW = operation.map_of(model, chosen_DCHW, labels_D)
        self.cache.update(index_B, window_B4, due, map_DHW, processes=share.processes)
        return self.cache.read(index_B, window_B4, *images_BCHW.shape[-2:])


def keep_maps(config: Config, images: Any, device: torch.device) -> KeptMaps | None:
    """Make the memory of a run's maps, or None if every map is computed anew."""
    if not keeps_maps(config):
        return None
    return KeptMaps(MapCache(len(images), config.guide.map_size, device), config.guide.refresh)
