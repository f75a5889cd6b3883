"""``python -m pretrain.fidelity RUN``: how much do augmentations destroy, and how much do their Keep versions?

Each augmentation and its Keep version start from the same draws on validation images, seen by a trained network:

* changed: share of pixels that differ from the clean image by more than the tolerance;
* saliency lost, object lost: share of the clean saliency, and of the object's pixels (with masks), that changed;
* confidence drop: fall of the true label's probability, in points; flipped: right before, wrong after.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UserError, guard

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

PROG = "python -m pretrain.fidelity"
COLUMNS = ("changed", "saliency_lost", "object_lost", "confidence_drop", "flipped")


@dataclass(frozen=True)
class FidelityConfig:
    """Measure what augmentations destroy, plain and with Keep.

    Attributes:
        checkpoint: a .pth of pretrain.train, or its run folder.
        augmentations: cutout, erasing, cutmix, randaugment, autoaugment; comma-separated.
        images: validation images to look at, spread over the set.
        length: side of the cut or pasted square as a share of the image side.
        magnitude: of RandAugment (two operations), 0-30.
        quantile: tau.
        scale: resolution of the saliency pass that chooses regions; the one that measures is full.
        tolerance: a pixel has changed when a channel differs by more than this, of 255.
        root: folder of the data; "" takes the one of training.
        batch_size: images per batch.
        seed: of the draws.
        device: auto, cpu, cuda, mps.
        json_file: also write the numbers here.
        picture: also draw a sheet of examples here (PNG).
    """

    checkpoint: str
    augmentations: str = "cutout,erasing,cutmix,randaugment,autoaugment"
    images: int = 1000
    length: float = 0.5
    magnitude: int = 9
    quantile: float = 0.6
    scale: float = 1.0
    tolerance: float = 32.0
    root: str = ""
    batch_size: int = 100
    seed: int = 0
    device: str = "auto"
    json_file: str = ""
    picture: str = ""


@dataclass(frozen=True)
class Looked:
    """One batch, before and after.

    Attributes:
        clean_BCHW: uint8.
        result_BCHW: uint8, of the same draws.
        map_BHW: saliency of the clean image's label, float32.
        mask_BHW: bool, the object; None without masks.
        labels_B: int64.
        before_BK: probabilities of the clean images.
        after_BK: probabilities of the results.
    """

    clean_BCHW: Tensor
    result_BCHW: Tensor
    map_BHW: Tensor
    mask_BHW: Tensor | None
    labels_B: Tensor
    before_BK: Tensor
    after_BK: Tensor


def scores(looked: Looked, tolerance: float) -> Tensor:
    """Measure a batch.

    Args:
        looked: images before and after, with the network's opinion.
        tolerance: largest difference of an unchanged pixel, of 255.

    Returns:
        values_B5, float32: changed, saliency lost, object lost (NaN without masks), confidence drop, flipped.

    Source: Gong et al., CVPR 2021, Figures 1 and 2 (the argument, here as numbers).
    """
    import torch

    difference_BHW = (looked.result_BCHW.int() - looked.clean_BCHW.int()).abs().amax(1)
    changed_BHW = (difference_BHW > tolerance).float()
    lost_B = (changed_BHW * looked.map_BHW).sum((1, 2)) / looked.map_BHW.sum((1, 2))
    mask_BHW = torch.full_like(changed_BHW, torch.nan) if looked.mask_BHW is None else looked.mask_BHW.float()
    object_B = (changed_BHW * mask_BHW).sum((1, 2)) / mask_BHW.sum((1, 2))
    index_B1 = looked.labels_B[:, None]
    drop_B = (looked.before_BK.gather(1, index_B1) - looked.after_BK.gather(1, index_B1))[:, 0]
    right_B = looked.before_BK.argmax(1) == looked.labels_B
    flipped_B = right_B & (looked.after_BK.argmax(1) != looked.labels_B)
    return torch.stack([changed_BHW.mean((1, 2)), lost_B, object_B, drop_B, flipped_B.float()], dim=1)


def measure(config: FidelityConfig) -> dict[str, dict[str, float]]:
    """Measure every augmentation and its Keep version.

    Args:
        config: of the command.

    Returns:
        ``"cutout"``, ``"keep cutout"``, ... -> the five shares, in percent (NaN where there are no masks).

    Raises:
        UserError: a checkpoint of another command, unknown augmentations, values out of range.

    Source: as :func:`scores`.
    """
    import torch

    from pretrain.trained import open_run

    names = _names(config)
    run = open_run(config.checkpoint, config.root, config.device)
    totals: dict[str, list[Tensor]] = {}
    sheet: list[list[Tensor]] = []
    clean = [
        look_clean(run.model, run.normalize(images), labels)
        for images, _, _, labels in run.batches(config.images, config.batch_size, None, config.seed)
    ]
    for name in names:
        for selective in (False, True):
            title = f"keep {name}" if selective else name
            drawn = torch.Generator().manual_seed(config.seed)
            batches = run.batches(config.images, config.batch_size, _policy(name, config), config.seed)
            for batch, opinion in zip(batches, clean, strict=True):
                operation = _operation(name, selective, config)
                looked = look(run.model, run.normalize, batch, opinion, operation, drawn)
                totals.setdefault(title, []).append(scores(looked, config.tolerance).cpu())
                if len(totals[title]) == 1:
                    sheet.append([looked.clean_BCHW.cpu(), looked.map_BHW.cpu(), looked.result_BCHW.cpu()])
    if config.picture:
        from pretrain.pictures import fidelity_sheet

        fidelity_sheet(list(totals), sheet, Path(config.picture))
    means = {title: (100 * torch.cat(parts).nanmean(0)).tolist() for title, parts in totals.items()}
    return {title: dict(zip(COLUMNS, values, strict=True)) for title, values in means.items()}


def look_clean(model: nn.Module, images_BCHW: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """Ask the network about clean images: map_BHW of the label's logit, and probabilities_BK."""
    import torch

    from keepcore import borrowed, input_gradient

    with borrowed(model) as network:
        map_BHW = input_gradient(network, images_BCHW, labels_B)
        with torch.no_grad():
            return map_BHW, network(images_BCHW).float().softmax(1)


def look(
    model: nn.Module,
    normalize: Any,
    batch: Any,
    opinion: tuple[Tensor, Tensor],
    operation: Any,
    generator: torch.Generator,
) -> Looked:
    """Run one operation on one batch and ask the network about the result.

    Args:
        model: trained network.
        normalize: uint8 -> normalised floats.
        batch: (clean_BCHW, augmented_BCHW or None, mask_BHW or None, labels_B).
        opinion: of :func:`look_clean` on the same images.
        operation: of keepcore, or None: the augmented view is the result.
        generator: of the draws.
    """
    import torch

    from keepcore import borrowed

    map_BHW, before_BK = opinion
    clean_BCHW, augmented_BCHW, mask_BHW, labels_B = batch
    images_BCHW = normalize(clean_BCHW)
    view_BCHW = None if augmented_BCHW is None else normalize(augmented_BCHW)
    result_BCHW = view_BCHW
    if operation is not None:
        result_BCHW = operation(model, images_BCHW, labels_B, view_BCHW, generator=generator).images_BCHW
    assert result_BCHW is not None
    with torch.no_grad(), borrowed(model) as network:
        after_BK = network(result_BCHW).float().softmax(1)
    undone = normalize.undo(result_BCHW)
    return Looked(clean_BCHW, undone, map_BHW, mask_BHW, labels_B, before_BK, after_BK)


def _names(config: FidelityConfig) -> list[str]:
    known = ("cutout", "erasing", "cutmix", "randaugment", "autoaugment")
    names = [name.strip() for name in config.augmentations.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise UserError(f"augmentations must be among {', '.join(known)}, got {config.augmentations!r}")
    if not 0 < config.length <= 1:
        raise UserError(f"length must be in (0, 1], a share of the image side, got {config.length}")
    return names


def _policy(name: str, config: FidelityConfig) -> Any:
    """Give the policy of an image-level augmentation, else None."""
    from pretrain.config import Policy

    policies = {
        "randaugment": Policy(name="randaugment", num_ops=2, magnitude=config.magnitude),
        "autoaugment": Policy(name="autoaugment_imagenet"),
    }
    return policies.get(name)


def _operation(name: str, selective: bool, config: FidelityConfig) -> Any:
    """Build what cuts or pastes; None for a plain policy."""
    from keepcore import KeepConfig, build_keep

    shared = {"selective": selective, "quantile": config.quantile, "scale": config.scale}
    if name in ("randaugment", "autoaugment"):
        return build_keep(KeepConfig(op="paste", length=config.length, **shared)) if selective else None
    return build_keep(KeepConfig(op=name, length=config.length, prob=1.0, **shared))


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line, measure and print; returns the exit code."""

    def command() -> None:
        from engine.command import parse, with_positional

        arguments = with_positional(argv, "checkpoint")
        config = parse(FidelityConfig, arguments, prog=PROG, description=str(__doc__))
        numbers = measure(config)
        print_numbers(numbers)
        if config.json_file:
            clean = {t: {k: None if v != v else v for k, v in row.items()} for t, row in numbers.items()}
            Path(config.json_file).write_text(json.dumps(clean, indent=1) + "\n")

    return guard(command)


def print_numbers(numbers: dict[str, dict[str, float]]) -> None:
    """Print one line an augmentation."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="share in percent; confidence drop in points")
    table.add_column("augmentation")
    for column in COLUMNS:
        table.add_column(column.replace("_", " "), justify="right")
    for title, row in numbers.items():
        table.add_row(title, *("-" if value != value else f"{value:.1f}" for value in row.values()))
    console = Console()
    Console(width=max(console.width, 100)).print(table)


if __name__ == "__main__":
    sys.exit(main())
