"""What augmentations do to photographs, plain and with Keep: the paper's Figure 1 for any network and images."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.transforms import v2

from engine.config import TrainingConfig
from engine.errors import UserError, as_user_error, check_ranges
from engine.files import check_targets
from engine.setup import build_accelerator
from imagesets.contact_sheet import check_picture_name
from imagesets.normalize import Normalize
from imagesets.readers import read_rgb
from keepcore import (
    KeepAugment,
    KeepCutMix,
    KeepCutout,
    KeepPaste,
    anywhere,
    at_scale,
    borrowed,
    feature_gradient,
    input_gradient,
)
from networks.open import OpenNetwork, open_network
from pretrain.picture_sheets import exploration_sheet
from pretrain.predictions import find_images


class Column(NamedTuple):
    """One column of the sheet.

    Attributes:
        title: what it shows.
        pictures: for each image, uint8 C x S x S, or a map_SS.
        captions: for each image, what is written above it.
    """

    title: str
    pictures: Sequence[Tensor]
    captions: Sequence[str]


def explore(options: Any) -> None:
    """Draw the sheet; implements ``tools/explore.py``.

    Args:
        options: ExploreOptions of tools/explore.py.

    Raises:
        UserError: the network or an image cannot be opened, or a value is out of range.
    """
    check_ranges(options, count=(1, 50), length=(0.01, 1), quantile=(0, 1), magnitude=(0, 30), seed=(0, None))
    check_targets(options.out)
    check_picture_name(options.out)
    *images, source = options.paths
    if not images:
        raise UserError("paths: give images or folders, and then the network")
    found = find_images(images)
    paths = (
        [found[i * len(found) // options.count] for i in range(options.count)]
        if len(found) > options.count
        else found
    )
    opened = open_network(source, arch=options.arch, pretrained=options.pretrained and not Path(source).exists())
    device = build_accelerator(TrainingConfig(device=options.device)).device
    exploration_sheet(_columns(opened, paths, options, device), Path(options.out))
    print(options.out)


def _columns(opened: OpenNetwork, paths: Sequence[Path], options: Any, device: torch.device) -> list[Column]:
    model, normalize = opened.model.to(device), Normalize(opened.mean, opened.std)
    crop = v2.Compose([opened.crop(), v2.PILToTensor()])
    pixels_BCHW = torch.stack([crop(read_rgb(path)) for path in paths])
    clean_BCHW = normalize(pixels_BCHW.to(device))
    probability = partial(_probability, model)
    before_BK = probability(clean_BCHW)
    labels_B = before_BK.argmax(1)
    names = opened.classes or tuple(f"class {index}" for index in range(opened.num_classes))

    def shown(title: str, images_BCHW: Tensor) -> Column:
        after_B = probability(images_BCHW).gather(1, labels_B[:, None])[:, 0]
        return Column(
            title, list(normalize.undo(images_BCHW).cpu()), [f"{value:.0%}" for value in after_B.tolist()]
        )

    captions = [
        f"{names[label]} {value:.0%}"
        for label, value in zip(labels_B.tolist(), before_BK.amax(1).tolist(), strict=True)
    ]
    columns = [Column("image", list(pixels_BCHW), captions)]
    with as_user_error(), borrowed(model) as network:
        for title, saliency in (
            ("input gradient\n(the paper's)", input_gradient),
            ("feature gradient\n(half size)", at_scale(feature_gradient, 0.5)),
        ):
            columns.append(Column(title, list(saliency(network, clean_BCHW, labels_B).cpu()), [""] * len(paths)))
    torch.manual_seed(options.seed)
    policy = v2.RandAugment(2, options.magnitude)
    augmented_BCHW = normalize(torch.stack([policy(image) for image in pixels_BCHW]).to(device))
    for title, keep, view in _operations(options, augmented_BCHW, several=len(paths) > 1):
        if keep is None:
            columns.append(shown(title, augmented_BCHW))
            continue
        generator = torch.Generator().manual_seed(options.seed)
        with as_user_error():
            kept = keep(model, clean_BCHW, labels_B, view, generator=generator)
        columns.append(shown(title, kept.images_BCHW))
    return columns


def _operations(
    options: Any, augmented_BCHW: Tensor, *, several: bool
) -> list[tuple[str, KeepAugment | None, Tensor | None]]:
    """List title, operation and augmented view; CutMix needs several images."""
    chosen = {"quantile": options.quantile, "saliency": at_scale(feature_gradient, 0.5)}
    kinds: dict[str, Callable[..., KeepAugment]] = {"Cutout": partial(KeepCutout, options.length)}
    if several:
        kinds["CutMix"] = KeepCutMix
    found: list[tuple[str, KeepAugment | None, Tensor | None]] = []
    for name, kind in kinds.items():
        found += [(name, kind(selector=anywhere), None), (f"Keep{name}", kind(**chosen), None)]
    paste = KeepPaste(options.length, **chosen)
    found[2:2] = [("RandAugment", None, None), ("KeepRandAugment", paste, augmented_BCHW)]
    return found


def _probability(model: nn.Module, images_BCHW: Tensor) -> Tensor:
    with torch.no_grad(), borrowed(model) as network:
        return network(images_BCHW).float().softmax(1)
