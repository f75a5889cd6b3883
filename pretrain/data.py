"""Data sets and transforms; a sample is (views, label), and a view is uint8 C x H x W."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timm.data import create_dataset
from torch.utils.data import Dataset, Subset
from torchvision.transforms import InterpolationMode, v2

from engine.errors import UserError, as_user_error, nearest, one_line
from imagesets.classification import OPENERS, ImageSet, Records, Split
from imagesets.normalize import IMAGENET_MEAN, IMAGENET_STD
from keepcore import TwoViews
from keepcore.build import choose
from keepcore.policy.randaugment import MEAN_COLOUR
from networks.open import centre_crop
from pretrain.baselines.autoaugment import AutoAugment
from pretrain.baselines.randaugment import GREY, rand_augment
from pretrain.config import Data, Policy
from pretrain.crop_windows import ViewsAndWindow


class Transformed(Dataset[Any]):
    """A data set whose images are transformed: index -> (views, label).

    Args:
        images: map-style data set, index -> (PIL image, label).
        transform: image -> views.
        on_corrupt: ``"fail"``, or ``"skip"``: report the file on stderr, use the next readable image, and add
            ``replaced`` to the sample's extras: 1 if it was replaced, else 0.
        with_windows: whether the transform returns (views, window), which adds ``window`` to the extras.

    A sample is (views, label), and a dict of extras if there are any.

    Raises:
        UserError: an image cannot be read (fail), or no image can be read (skip).
    """

    def __init__(
        self, images: Any, transform: Callable[[Any], Any], on_corrupt: str = "fail", *, with_windows: bool = False
    ) -> None:
        self.images, self.transform, self.on_corrupt = images, transform, on_corrupt
        self.with_windows = with_windows

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        for ahead in range(len(self)):
            try:
                image, label = self.images[(index + ahead) % len(self)]
            except UserError as error:
                if self.on_corrupt == "fail":
                    raise UserError(f"{error}; use --data.on_corrupt skip to skip such images") from error
                print(f"skipped: {error}", file=sys.stderr)
            else:
                return self._sample(image, int(label), replaced=ahead > 0)
        raise UserError("none of the images can be read: check data.root")

    def __len__(self) -> int:
        return len(self.images)

    def _sample(self, image: Any, label: int, *, replaced: bool) -> tuple[Any, ...]:
        extras: dict[str, Any] = {}
        views = self.transform(image)
        if self.with_windows:
            views, extras["window"] = views
        if self.on_corrupt == "skip":
            extras["replaced"] = int(replaced)
        return (views, label, extras) if extras else (views, label)


def open_source(data: Data, batch_size: int = 1, seed: int = 0) -> ImageSet:
    """Open the data set of a config.

    Args:
        data: data options of the run.
        batch_size: images per step of this process; streams count whole batches.
        seed: seed of a stream's order.

    Returns:
        Both parts; those of a stream are IterableDatasets.

    Raises:
        UserError: unknown name, missing folder, wrong layout, or class folders that differ between parts.

    Source: torchvision.datasets, timm.data.
    """
    source = _open(data, batch_size, seed)
    return replace(source, mean=data.mean, std=data.std) if data.mean else source


def _open(data: Data, batch_size: int, seed: int) -> ImageSet:
    if "/" in data.dataset and not Path(data.dataset).is_dir():
        return _timm(data, batch_size, seed)
    if data.dataset not in OPENERS:
        if Path(data.dataset).is_dir():
            raise UserError(
                f"data.dataset: {data.dataset} is a folder: use --data.dataset folder --data.root {data.dataset}"
            )
        hint = "folder (your own images), csv, or a timm reader such as hfds/cifar10 or wds/"
        names = ", ".join(name for name in OPENERS if name not in ("folder", "csv"))
        near = nearest(data.dataset, list(OPENERS))
        raise UserError(f"data.dataset must be one of {names}, {hint}, got {data.dataset!r}{near}")
    return OPENERS[data.dataset](Path(data.root).expanduser(), Split(data.val_share, data.split_seed))


def _timm(data: Data, batch_size: int, seed: int) -> ImageSet:
    """Open a data set through timm: map-style (torch/, hfds/) or a stream (wds/, hfids/, tfds/)."""
    try:
        train, val = (
            create_dataset(
                data.dataset,
                root=data.root or None,
                split=split,
                is_training=training,
                batch_size=batch_size,
                seed=seed,
            )
            for split, training in ((data.train_split, True), (data.val_split, False))
        )
    except (RuntimeError, ImportError, AssertionError, OSError, ValueError) as error:
        raise UserError(f"data.dataset: timm cannot open {data.dataset}: {one_line(error)}") from error
    return ImageSet(train, val, _class_names(train, data), IMAGENET_MEAN, IMAGENET_STD)


def _class_names(dataset: Any, data: Data) -> tuple[str, ...]:
    if data.num_classes:
        return tuple(str(index) for index in range(data.num_classes))
    holders = [dataset, getattr(dataset, "reader", None)]
    index_of = next((h.class_to_idx for h in holders if getattr(h, "class_to_idx", None)), None)
    if index_of is None:
        raise UserError(f"data.dataset: {data.dataset} does not report its classes: set --data.num_classes")
    return tuple(sorted(map(str, index_of), key=lambda name: index_of.get(name, 0)))


def synthetic_source(data: Data) -> ImageSet:
    """Make random images of the size that the recipe expects, to measure throughput.

    Args:
        data: the crop ``pad`` gets 10 classes and images of ``image_size``; others, 1000 classes and 8/7 the size.

    Returns:
        50,000 training images (only 256 distinct ones unless the crop is ``pad``) and 1,000 validation images.

    Source: the synthetic data of timm and of DALI's examples.
    """
    small = data.crop == "pad"
    side = data.image_size if small else round(data.image_size * 8 / 7)
    count, classes = (50_000 if small else 256), data.num_classes or (10 if small else 1000)
    rng = np.random.default_rng(0)
    pool = Records(
        rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8), rng.integers(0, classes, count).tolist()
    )
    names = tuple(str(index) for index in range(classes))
    train = pool if small else Subset(pool, [index % count for index in range(50_000)])
    return ImageSet(
        train, Subset(pool, [index % count for index in range(1000)]), names, IMAGENET_MEAN, IMAGENET_STD
    )


POLICIES: dict[str, Callable[[Policy], Callable[[Any], Any]]] = {
    "randaugment": lambda p: rand_augment(p.scale, p.num_ops, p.magnitude),
    "augmix": lambda p: v2.AugMix(severity=p.magnitude, all_ops=False),
    "autoaugment_cifar10": lambda p: AutoAugment(),
    "autoaugment_imagenet": lambda p: v2.AutoAugment(v2.AutoAugmentPolicy.IMAGENET, fill=list(GREY)),
    "trivialaugment": lambda p: v2.TrivialAugmentWide(fill=list(MEAN_COLOUR)),
}


def train_transform(data: Data, policy: Policy, *, with_windows: bool = False) -> Callable[[Any], Any]:
    """Build the transform image -> (clean,) or (clean, augmented); both views share one crop and flip.

    Args:
        data: crop and flip.
        policy: policy of the augmented view.
        with_windows: return (views, window) instead, see :class:`pretrain.crop_windows.ViewsAndWindow`.

    Raises:
        UserError: unknown crop or policy, or an option that is out of range.

    Source: uoguelph-mlrg/Cutout train.py (pad), clovaai/CutMix-PyTorch train.py (resized).
    """
    with as_user_error():
        shared = choose(CROPS, data.crop, "data.crop")(data)
    finish = v2.PILToTensor()
    if with_windows:
        with as_user_error():
            none = policy.name == "none"
            augment = None if none else choose(POLICIES, policy.name, "policy.name")(policy)
        return ViewsAndWindow(shared, augment, finish, policy.order)
    if policy.name == "none":
        return v2.Compose([shared, finish, _Alone()])
    with as_user_error():
        augment = choose(POLICIES, policy.name, "policy.name")(policy)
        return TwoViews(shared, augment, finish, order=policy.order)


def in_workers(policy: Policy) -> Policy:
    """Return the policy to run in the data workers: the given one, or none if it runs on the device.

    Raises:
        UserError: the policy cannot run on the device.
    """
    if policy.on == "workers" or policy.name == "none":
        return policy
    if (policy.name, policy.scale, policy.order) != ("randaugment", "tv31", "after_crop"):
        raise UserError(
            f"policy.on: device supports only randaugment with scale tv31 and order after_crop, got {policy.name}"
            f", {policy.scale} and {policy.order}: use --policy.on workers"
        )
    return Policy()


class _Alone:
    """Wraps the only view in a tuple."""

    def __call__(self, image: Any) -> tuple[Any]:
        return (image,)


def _pad_crop(data: Data) -> v2.Transform:
    crop = v2.RandomCrop(data.image_size, padding=data.padding, pad_if_needed=True)
    return v2.Compose([crop, v2.RandomHorizontalFlip(data.hflip), *_jitter(data)])


def _resized_crop(data: Data) -> v2.Transform:
    mode = InterpolationMode(data.interpolation or "bilinear")
    crop = v2.RandomResizedCrop(data.image_size, data.area, interpolation=mode)
    return v2.Compose([crop, v2.RandomHorizontalFlip(data.hflip), *_jitter(data)])


CROPS: dict[str, Callable[[Data], v2.Transform]] = {"pad": _pad_crop, "resized": _resized_crop}


def _jitter(data: Data) -> list[v2.Transform]:
    return [v2.ColorJitter(data.jitter, data.jitter, data.jitter)] if data.jitter else []


def eval_crop(data: Data) -> Callable[[Any], Any]:
    """Build the transform image -> S x S image: resize the shorter side, then crop the centre.

    Source: timm and torchvision evaluation transforms.
    """
    size = data.eval_size or data.image_size
    return centre_crop(size, data.crop_pct or 1.0, data.interpolation or "bilinear")


def eval_transform(data: Data) -> Callable[[Any], Any]:
    """Build the transform image -> uint8 C x S x S, cropped as by :func:`eval_crop`.

    Source: timm and torchvision evaluation transforms.
    """
    return v2.Compose([eval_crop(data), v2.PILToTensor()])


def augmented_of(views: list[torch.Tensor]) -> torch.Tensor | None:
    """Return the second view of a batch, if there is one."""
    return views[1] if len(views) > 1 else None
