"""Images for ``pretrain.fidelity``, with the masks of their objects where there are any."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from engine.checkpoint import newest
from engine.errors import UserError
from engine.loader import EpochLoader, in_order
from imagesets.coco import BoxedImages, annotation_file, image_folder
from imagesets.folders import validation_folder
from imagesets.readers import read_rgb
from networks.open import OpenNetwork
from pretrain.config import Data, Policy
from pretrain.data import POLICIES, open_source
from pretrain.fidelity import FidelityOptions
from pretrain.load_run import load_trained

UNLABELLED = -1


class Views(NamedTuple):
    """One batch.

    Attributes:
        clean_BCHW: uint8.
        augmented_BCHW: the policy's view, uint8; the clean images if there is no policy.
        mask_BHW: bool, pixels of objects; all False where they are not known.
        labels_B: int64; -1 without labels.
    """

    clean_BCHW: Tensor
    augmented_BCHW: Tensor
    mask_BHW: Tensor
    labels_B: Tensor


@dataclass(frozen=True)
class EvaluationImages:
    """A data set to measure on.

    Attributes:
        images: index -> (PIL image, mask or None, label or -1).
        classes: class names, in label order; () without labels.
    """

    images: Any
    classes: tuple[str, ...]

    def batches(
        self,
        options: FidelityOptions,
        crop: Callable[[Any], Any],
        policy: Policy | None,
        device: torch.device,
    ) -> Iterator[Views]:
        """Yield the batches on the device.

        Args:
            options: number of images, batch size and seed.
            crop: PIL image -> square PIL image.
            policy: policy of the augmented view, or None.
            device: device of the views.
        """
        indices = self.indices(options.images)
        dataset = _Viewed(self.images, crop, policy)
        for batch in EpochLoader(dataset, in_order(indices, options.batch_size), options.seed):
            clean, augmented, mask, labels = (part.to(device) for part in batch)
            yield Views(clean, augmented, mask[:, 0] > 127, labels)

    def indices(self, count: int) -> Sequence[int]:
        """Return the indices of evenly spaced images."""
        total = len(self.images)
        return [i * total // count for i in range(count)] if count < total else range(total)

    def known_to(self, network: OpenNetwork) -> bool:
        """Return whether the labels are those of a network: the same names in the same order, or as many."""
        if not self.classes or network.num_classes != len(self.classes):
            return False
        return not network.classes or network.classes == self.classes


def open_images(options: FidelityOptions) -> EvaluationImages:
    """Open the data of the options.

    Raises:
        UserError: there are no data, or they have another layout.
    """
    root = Path(options.root).expanduser()
    if options.annotations:
        return EvaluationImages(_Coco(BoxedImages(Path(options.annotations), root)), ())
    if options.root and annotation_file(root, options.split).is_file():
        boxed = BoxedImages(annotation_file(root, options.split), image_folder(root, options.split))
        return EvaluationImages(_Coco(boxed), ())
    if options.root and (root / "coco" / "annotations").is_dir():
        found = sorted(
            p.stem.removeprefix("instances_") for p in (root / "coco/annotations").glob("instances_*.json")
        )
        raise UserError(f"split: {root}/coco has no {options.split}; it has {', '.join(found) or 'none'}")
    data = _data_of_run(options.network)
    if data is not None:
        source = open_source(replace(data, root=options.root or data.root))
        return EvaluationImages(_Labelled(source.val), source.classes)
    if not options.root:
        raise UserError(
            "root: only a run of pretrain.train knows its data: give the folder of the images with --root"
        )
    part = validation_folder(root) or root
    try:
        folder = ImageFolder(str(part), loader=read_rgb)
    except (FileNotFoundError, OSError) as error:
        raise UserError(
            f"root: {part} has neither class folders with images nor coco/annotations/; for other COCO files give "
            "--annotations"
        ) from error
    return EvaluationImages(_Labelled(folder), tuple(folder.classes))


def _data_of_run(source: str) -> Data | None:
    """Return the data options of a run of pretrain.train; None for other networks."""
    path = newest(source)
    if not path.is_file() or path.suffix != ".pth":
        return None
    try:
        return load_trained(source).config.data
    except UserError:
        return None


class _Coco:
    """Images of a COCO data set, without labels."""

    def __init__(self, images: BoxedImages) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, Image.Image | None, int]:
        return (*self.images[index], UNLABELLED)


class _Labelled:
    """Images with labels, and with masks if they lie beside them."""

    def __init__(self, images: Any) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Image.Image, Image.Image | None, int]:
        image, label = self.images[index]
        path = mask_path(self.images, index)
        return image, Image.open(path).convert("L") if path else None, int(label)


class _Viewed:
    """Index -> (clean, augmented, mask, label); pictures are uint8 C x S x S."""

    def __init__(self, images: Any, crop: Callable[[Any], Any], policy: Policy | None) -> None:
        self.images, self.crop, self.finish = images, crop, v2.PILToTensor()
        self.policy: Callable[[Any], Any] | None = None if policy is None else POLICIES[policy.name](policy)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor, int]:
        image, mask, label = self.images[index]
        clean = self.crop(image)
        augmented = clean if self.policy is None else self.policy(clean)
        shape = Image.new("L", clean.size) if mask is None else self.crop(mask)
        return self.finish(clean), self.finish(augmented), self.finish(shape), label


def mask_path(images: Any, index: int) -> Path | None:
    """Find an ImageFolder image's object mask: ``masks/<part>/<class>/<name>.png`` next to the part's folder.

    Source: the layout of the demo set.
    """
    samples = getattr(images, "samples", None)
    if samples is None:
        return None
    image = Path(samples[index][0])
    part = image.parents[1]
    path = part.parent / "masks" / part.name / image.parent.name / f"{image.stem}.png"
    return path if path.is_file() else None
