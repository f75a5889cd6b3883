"""Opens a trained backbone and its data from the checkpoint alone, for evaluation, pictures and export."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

import networks.load_run
from engine.config import TrainingConfig
from engine.loader import EpochLoader, in_order
from engine.setup import build_accelerator
from imagesets.classification import ImageSet
from imagesets.normalize import Normalize
from networks.create import create_network
from networks.load_run import Trained, check_classes
from pretrain.config import Config, Data, Policy
from pretrain.data import POLICIES, eval_crop, open_source

Backbone = Trained[Config, nn.Module]


def load_trained(checkpoint_or_run: str, use: str = "auto") -> Backbone:
    """Rebuild a network from its checkpoint.

    Args:
        checkpoint_or_run: .pth file written by pretrain.train, or a run folder (its last.pth).
        use: which weights to load: auto, ema or raw.

    Raises:
        UserError: the file was not written by pretrain.train, or it is damaged.
    """
    return networks.load_run.load_trained(
        checkpoint_or_run, "pretrain.train", Config, _build, use=use, options=str, classes=str
    )


def _build(content: dict[str, Any], config: Config) -> nn.Module:
    return create_network(content["arch"], content["num_classes"], json.loads(content["options"]), "model.name")


def open_data(trained: Backbone, root: str) -> tuple[Data, ImageSet]:
    """Open the data set that a network was trained on.

    Args:
        trained: the trained network.
        root: folder of the data; "" uses the one from training.

    Raises:
        UserError: the data was not found, or its classes differ from those in training.
    """
    data = replace(trained.config.data, root=root or trained.config.data.root)
    source = open_source(data)
    check_classes(trained, source.classes, data.root or data.dataset)
    return data, source


def load_attention(config: Config, device: torch.device) -> nn.Module | None:
    """Load the network that guides Attentive CutMix; return None if it is the one in training.

    Raises:
        UserError: the checkpoint was not written by pretrain.train.

    Source: Walawalkar et al., ICASSP 2020.
    """
    path = config.baseline.attention
    return load_trained(path).model.to(device) if path else None


@dataclass(frozen=True)
class OpenRun:
    """A trained network on its device, with its data set."""

    model: nn.Module
    normalize: Normalize
    source: ImageSet
    config: Config
    device: torch.device

    def batches(self, count: int, batch_size: int, policy: Policy | None, seed: int) -> Iterator[Any]:
        """Yield (clean_BCHW, augmented_BCHW or None, mask_BHW or None, labels_B) on the device.

        Args:
            count: number of images, evenly spaced in the validation part.
            batch_size: images per batch.
            policy: policy of the augmented view, or None.
            seed: seed of the policy's draws.
        """
        total = len(self.source.val)
        indices = [i * total // count for i in range(count)] if count < total else range(total)
        dataset = _Viewed(self.source.val, self.config, policy)
        for views, has_mask, labels_B in EpochLoader(dataset, in_order(indices, batch_size), seed):
            clean, augmented, mask = (view.to(self.device) for view in views)
            yield (
                clean,
                None if policy is None else augmented,
                mask[:, 0] > 127 if bool(has_mask.all()) else None,
                labels_B.to(self.device),
            )


class _Viewed:
    """Validation images: index -> ((clean, augmented, mask), whether there is a mask, label), uint8 C x S x S."""

    def __init__(self, images: Any, config: Config, policy: Policy | None) -> None:
        self.images, self.crop, self.finish = images, eval_crop(config.data), v2.PILToTensor()
        self.policy: Callable[[Any], Any] | None = None if policy is None else POLICIES[policy.name](policy)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[tuple[Tensor, Tensor, Tensor], bool, int]:
        image, label = self.images[index]
        clean = self.crop(image)
        augmented = clean if self.policy is None else self.policy(clean)
        path = mask_path(self.images, index)
        mask = self.crop(Image.open(path).convert("L")) if path else clean.convert("L")
        return (self.finish(clean), self.finish(augmented), self.finish(mask)), path is not None, int(label)


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


def open_run(checkpoint_or_run: str, root: str, device: str) -> OpenRun:
    """Open a trained network with its data.

    Args:
        checkpoint_or_run: see :func:`load_trained`.
        root: folder of the data; "" uses the one from training.
        device: auto, cpu, cuda or mps.

    Raises:
        UserError: see :func:`load_trained` and :func:`open_data`.
    """
    trained = load_trained(checkpoint_or_run)
    _, source = open_data(trained, root)
    on = build_accelerator(TrainingConfig(device=device)).device
    return OpenRun(trained.model.to(on), Normalize(source.mean, source.std), source, trained.config, on)
