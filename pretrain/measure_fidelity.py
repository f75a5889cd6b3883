"""How much of an image an augmentation changes, plain and with Keep, according to a trained network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from engine.errors import UserError, check_ranges
from engine.files import check_targets, write_json
from imagesets.contact_sheet import check_picture_name
from keepcore import KeepConfig, borrowed, build_keep, input_gradient
from pretrain.config import Policy
from pretrain.fidelity import FidelityOptions
from pretrain.load_run import open_run
from pretrain.picture_sheets import fidelity_sheet

COLUMNS = ("changed", "saliency_lost", "object_lost", "confidence_drop", "flipped")


@dataclass(frozen=True)
class BeforeAfter:
    """One batch before and after augmentation.

    Attributes:
        clean_BCHW: clean images, uint8.
        result_BCHW: augmented images, uint8.
        map_BHW: saliency of the clean images for their labels, float32.
        mask_BHW: object pixels, bool; None without masks.
        labels_B: int64.
        before_BK: predicted probabilities for the clean images.
        after_BK: predicted probabilities for the augmented images.
    """

    clean_BCHW: Tensor
    result_BCHW: Tensor
    map_BHW: Tensor
    mask_BHW: Tensor | None
    labels_B: Tensor
    before_BK: Tensor
    after_BK: Tensor


def scores(pair: BeforeAfter, tolerance: float) -> Tensor:
    """Compute the scores of a batch.

    Args:
        pair: images before and after, with the network's output for both.
        tolerance: largest difference of an unchanged pixel in any channel, 0-255.

    Returns:
        values_B5, float32: changed, saliency lost, object lost (NaN without masks), confidence drop, flipped.

    Source: Gong et al., CVPR 2021, Figures 1 and 2 (their argument in numbers).
    """
    difference_BHW = (pair.result_BCHW.int() - pair.clean_BCHW.int()).abs().amax(1)
    changed_BHW = (difference_BHW > tolerance).float()
    lost_B = (changed_BHW * pair.map_BHW).sum((1, 2)) / pair.map_BHW.sum((1, 2))
    mask_BHW = torch.full_like(changed_BHW, torch.nan) if pair.mask_BHW is None else pair.mask_BHW.float()
    object_B = (changed_BHW * mask_BHW).sum((1, 2)) / mask_BHW.sum((1, 2))
    index_B1 = pair.labels_B[:, None]
    drop_B = (pair.before_BK.gather(1, index_B1) - pair.after_BK.gather(1, index_B1))[:, 0]
    right_B = pair.before_BK.argmax(1) == pair.labels_B
    flipped_B = right_B & (pair.after_BK.argmax(1) != pair.labels_B)
    return torch.stack([changed_BHW.mean((1, 2)), lost_B, object_B, drop_B, flipped_B.float()], dim=1)


def measure(options: FidelityOptions) -> dict[str, dict[str, float]]:
    """Measure every augmentation and its Keep version.

    Returns:
        ``"cutout"``, ``"keep cutout"``, ... -> the five scores, in percent (object_lost is NaN without masks).

    Raises:
        UserError: the checkpoint is from another command, an augmentation is unknown, or a value is out of range.

    Source: as :func:`scores`.
    """
    names = _names(options)
    run = open_run(options.checkpoint, options.root, options.device)
    totals: dict[str, list[Tensor]] = {}
    examples: list[list[Tensor]] = []
    clean = [
        observe_clean(run.model, run.normalize(images), labels)
        for images, _, _, labels in run.batches(options.images, options.batch_size, None, options.seed)
    ]
    for name in names:
        for selective in (False, True):
            title = f"keep {name}" if selective else name
            generator = torch.Generator().manual_seed(options.seed)
            batches = run.batches(options.images, options.batch_size, _policy(name, options), options.seed)
            for batch, reference in zip(batches, clean, strict=True):
                operation = _operation(name, selective, options)
                pair = compare(run.model, run.normalize, batch, reference, operation, generator)
                totals.setdefault(title, []).append(scores(pair, options.tolerance).cpu())
                if len(totals[title]) == 1:
                    examples.append([pair.clean_BCHW.cpu(), pair.map_BHW.cpu(), pair.result_BCHW.cpu()])
    if options.picture:
        fidelity_sheet(list(totals), examples, Path(options.picture))
    means = {title: (100 * torch.cat(parts).nanmean(0)).tolist() for title, parts in totals.items()}
    return {title: dict(zip(COLUMNS, values, strict=True)) for title, values in means.items()}


def observe_clean(model: nn.Module, images_BCHW: Tensor, labels_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return the saliency map_BHW of the labels' logits and the probabilities_BK for clean images."""
    with borrowed(model) as network:
        map_BHW = input_gradient(network, images_BCHW, labels_B)
        with torch.no_grad():
            return map_BHW, network(images_BCHW).float().softmax(1)


def compare(
    model: nn.Module,
    normalize: Any,
    batch: Any,
    reference: tuple[Tensor, Tensor],
    operation: Any,
    generator: torch.Generator,
) -> BeforeAfter:
    """Apply one operation to one batch and run the network on the result.

    Args:
        model: trained network.
        normalize: uint8 -> normalised floats.
        batch: (clean_BCHW, augmented_BCHW or None, mask_BHW or None, labels_B).
        reference: output of :func:`observe_clean` for the same images.
        operation: keepcore operation; None takes the augmented view as the result.
        generator: generator of the draws.
    """
    map_BHW, before_BK = reference
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
    return BeforeAfter(clean_BCHW, undone, map_BHW, mask_BHW, labels_B, before_BK, after_BK)


def _names(options: FidelityOptions) -> list[str]:
    choices = ("cutout", "erasing", "cutmix", "randaugment", "autoaugment")
    names = [name.strip() for name in options.augmentations.split(",") if name.strip()]
    unknown = [name for name in names if name not in choices]
    if unknown or not names:
        raise UserError(f"augmentations must be among {', '.join(choices)}, got {options.augmentations!r}")
    if not 0 < options.length <= 1:
        raise UserError(f"length must be in (0, 1], a fraction of the image side, got {options.length}")
    return names


def _policy(name: str, options: FidelityOptions) -> Any:
    """Return the policy of an image-level augmentation, or None for other augmentations."""
    policies = {
        "randaugment": Policy(name="randaugment", num_ops=2, magnitude=options.magnitude),
        "autoaugment": Policy(name="autoaugment_imagenet"),
    }
    return policies.get(name)


def _operation(name: str, selective: bool, options: FidelityOptions) -> Any:
    """Build the operation that cuts or pastes; return None for a plain policy."""
    shared = {"selective": selective, "quantile": options.quantile, "scale": options.scale}
    if name in ("randaugment", "autoaugment"):
        return build_keep(KeepConfig(op="paste", length=options.length, **shared)) if selective else None
    return build_keep(KeepConfig(op=name, length=options.length, prob=1.0, **shared))


def print_numbers(numbers: dict[str, dict[str, float]]) -> None:
    """Print one line per augmentation."""
    table = Table(title="share in percent; confidence drop in points")
    table.add_column("augmentation")
    for column in COLUMNS:
        table.add_column(column.replace("_", " "), justify="right")
    for title, row in numbers.items():
        table.add_row(title, *("-" if value != value else f"{value:.1f}" for value in row.values()))
    console = Console()
    Console(width=max(console.width, 100)).print(table)


def report_fidelity(options: FidelityOptions) -> None:
    """Measure, print and write the numbers; implements ``python -m pretrain.fidelity``."""
    check_ranges(
        options, images=(1, None), batch_size=(1, None), seed=(0, None), magnitude=(0, 30), quantile=(0, 1)
    )
    check_ranges(options, scale=(0.01, 4), tolerance=(0, 255))
    check_targets(options.json_file, options.picture)
    if options.picture:
        check_picture_name(options.picture)
    numbers = measure(options)
    print_numbers(numbers)
    write_json(numbers, options.json_file)
