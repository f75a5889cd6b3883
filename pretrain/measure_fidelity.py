"""How much of an image an augmentation changes, plain, with Keep and with its controls, by trained networks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from engine.config import TrainingConfig
from engine.errors import UserError, as_user_error, check_ranges
from engine.files import check_targets, write_json
from engine.progress import tracked
from engine.setup import build_accelerator
from experiments.controls import controls_of
from imagesets.contact_sheet import check_picture_name
from imagesets.normalize import Normalize
from keepcore import KeepAugment, KeepConfig, borrowed, build_keep, input_gradient
from keepcore.boxes import box_mask
from keepcore.build import MAPS
from keepcore.controls import mean_map
from networks.open import OpenNetwork, open_network
from pretrain.config import Policy
from pretrain.fidelity import FidelityOptions
from pretrain.fidelity_data import EvaluationImages, Views, open_images
from pretrain.fidelity_scores import COLUMNS, BeforeAfter, scores, summarise
from pretrain.picture_sheets import fidelity_sheet

CUTS = ("cutout", "erasing", "cutmix")
POLICIES: dict[str, Callable[[FidelityOptions], Policy]] = {
    "randaugment": lambda o: Policy(name="randaugment", num_ops=2, magnitude=o.magnitude),
    "autoaugment": lambda o: Policy(name="autoaugment_imagenet"),
}


class Row(NamedTuple):
    """One row of the table.

    Attributes:
        title: its name.
        plain: name of the plain row that it is compared with.
        config: the operation; None is an image-level policy alone.
    """

    title: str
    plain: str
    config: KeepConfig | None


class Judged(NamedTuple):
    """What the judge makes of one clean batch: its labels_B, saliency map_BHW and probabilities_BK."""

    labels_B: Tensor
    map_BHW: Tensor
    before_BK: Tensor


@dataclass(frozen=True)
class Network:
    """A network on its device, and whether it knows the labels of the data."""

    opened: OpenNetwork
    normalize: Normalize
    knows_labels: bool

    def probabilities(self, images_BCHW: Tensor) -> Tensor:
        """Return probabilities_BK for uint8 images of any size."""
        with torch.no_grad(), borrowed(self.opened.model) as network:
            return network(self._input(images_BCHW)).float().softmax(1)

    def labels(self, images_BCHW: Tensor, labels_B: Tensor) -> Tensor:
        """Return the data's labels, or the network's predictions for uint8 images if it does not know them."""
        return labels_B if self.knows_labels else self.probabilities(images_BCHW).argmax(1)

    def judge(self, images_BCHW: Tensor, labels_B: Tensor) -> Judged:
        """Look at the clean images, uint8."""
        own_B = self.labels(images_BCHW, labels_B)
        with borrowed(self.opened.model) as network:
            map_BYX = input_gradient(network, self._input(images_BCHW), own_B)
        map_B1HW = F.interpolate(map_BYX[:, None], images_BCHW.shape[-2:], mode="bilinear", antialias=True)
        return Judged(own_B, map_B1HW[:, 0], self.probabilities(images_BCHW))

    def _input(self, images_BCHW: Tensor) -> Tensor:
        size = (self.opened.size, self.opened.size)
        if images_BCHW.shape[-2:] != size:
            images_BCHW = F.interpolate(images_BCHW, size, mode="bilinear", antialias=True)
        return self.normalize(images_BCHW)


def rows_of(name: str, options: FidelityOptions) -> list[Row]:
    """List the rows of an augmentation: plain, with Keep, and its controls.

    Args:
        name: one of CUTS or of POLICIES.
        options: options of the command.
    """
    shared = {"quantile": options.quantile, "scale": options.scale, "saliency": options.saliency}
    op = "paste" if name in POLICIES else name
    keep: dict[str, Any] = {"op": op, "length": options.length, "stage": options.stage, **shared}
    found = {f"keep {name}": keep}
    if options.controls:
        controls = controls_of({"augment": keep})
        found |= {f"keep {name}, {title}": recipe["augment"] for title, recipe in controls.items()}
    plain = None if op == "paste" else KeepConfig(op=name, length=options.length, selective=False)  # type: ignore[arg-type]
    with as_user_error():
        build_keep(KeepConfig(**keep))
        return [
            Row(name, name, plain),
            *(Row(title, name, KeepConfig(**values)) for title, values in found.items()),
        ]


def measure(options: FidelityOptions) -> dict[str, Any]:
    """Measure every augmentation, its Keep version and the controls.

    Returns:
        ``rows``: title -> scores (:func:`pretrain.fidelity_scores.summarise`); and how they were measured.

    Raises:
        UserError: a network or the data cannot be opened, an augmentation is unknown, or a value is out of range.

    Source: as :func:`pretrain.fidelity_scores.scores`.
    """
    groups = {name: rows_of(name, options) for name in _names(options)}
    device = build_accelerator(TrainingConfig(device=options.device)).device
    data = open_images(options)
    picker = _network(options, options.network, options.arch, "network", data, device)
    judge = picker
    if options.judge:
        judge = _network(options, options.judge, options.judge_arch, "judge", data, device)
    values: dict[str, list[Tensor]] = {}
    examples: dict[str, list[Tensor]] = {}
    policies: list[Policy | None] = [None] if set(groups) & set(CUTS) else []
    policies += [POLICIES[name](options) for name in groups if name in POLICIES]
    for policy in policies:
        rows = [row for name, rows in groups.items() if _policy(name, options) == policy for row in rows]
        generators = {row.title: torch.Generator().manual_seed(options.seed) for row in rows}
        batches = data.batches(options, picker.opened.crop(), policy, device)
        count = -(-len(data.indices(options.images)) // options.batch_size)
        for views in tracked(batches, policy.name if policy else ", ".join(CUTS), total=count):
            for title, scored, example in _measure_batch(views, rows, generators, picker, judge, options):
                values.setdefault(title, []).append(scored.cpu())
                examples.setdefault(title, example)
    per_image = {title: torch.cat(parts).double().numpy() for title, parts in values.items()}
    ordered = [row for rows in groups.values() for row in rows]
    if options.picture:
        shown = [
            row.title
            for row in ordered
            if row.title.removesuffix(", area-matched") in (row.plain, f"keep {row.plain}")
        ]
        fidelity_sheet(shown, [examples[title] for title in shown], Path(options.picture))
    return {
        "network": picker.opened.name,
        "judge": judge.opened.name,
        "labels": "the data's" if judge.knows_labels else "the judge's predictions for the clean images",
        "images": len(data.indices(options.images)),
        "images_with_objects": int(np.isfinite(next(iter(per_image.values()))[:, 2]).sum()),
        "draws": options.draws,
        "rows": summarise(
            {row.title: per_image[row.title] for row in ordered}, {r.title: r.plain for r in ordered}
        ),
    }


def _measure_batch(
    views: Views,
    rows: list[Row],
    generators: dict[str, torch.Generator],
    picker: Network,
    judge: Network,
    options: FidelityOptions,
) -> Iterator[tuple[str, Tensor, list[Tensor]]]:
    """Yield each row's title, its scores averaged over the draws, and its picture of one batch."""
    clean_BCHW = views.clean_BCHW
    judged = judge.judge(clean_BCHW, views.labels_B)
    images_BCHW, labels_B = picker.normalize(clean_BCHW), picker.labels(clean_BCHW, views.labels_B)
    keep = build_keep(next(row.config for row in rows if row.config and row.config.selective))
    with as_user_error():
        map_BHW = keep.map_of(picker.opened.model, images_BCHW, labels_B)
    for row in rows:
        total: Tensor | float = 0.0
        for _ in range(options.draws):
            result_BCHW, changed_BHW = _apply(
                row, views, picker, images_BCHW, map_BHW, generators[row.title], options
            )
            after_BK = judge.probabilities(result_BCHW)
            pair = BeforeAfter(
                changed_BHW, judged.map_BHW, views.mask_BHW, judged.labels_B, judged.before_BK, after_BK
            )
            total = total + scores(pair)
        yield row.title, total / options.draws, [clean_BCHW.cpu(), map_BHW.cpu(), result_BCHW.cpu()]


def _apply(
    row: Row,
    views: Views,
    picker: Network,
    images_BCHW: Tensor,
    map_BHW: Tensor,
    generator: torch.Generator,
    options: FidelityOptions,
) -> tuple[Tensor, Tensor]:
    """Return the augmented images, uint8, and the pixels that were cut or changed, bool."""
    if row.config is None:
        return views.augmented_BCHW, _differs(views.augmented_BCHW, views.clean_BCHW, options.tolerance)
    operation = _with_map(build_keep(replace(row.config, prob=1.0)), row.config, map_BHW)
    pastes = row.config.op == "paste"
    view_BCHW = picker.normalize(views.augmented_BCHW) if pastes else None
    kept = operation(picker.opened.model, images_BCHW, None, view_BCHW, generator=generator)
    result_BCHW = picker.normalize.undo(kept.images_BCHW)
    if pastes:
        return result_BCHW, _differs(result_BCHW, views.clean_BCHW, options.tolerance)
    return result_BCHW, box_mask(kept.boxes_B4, *images_BCHW.shape[-2:])


def _with_map(operation: KeepAugment, config: KeepConfig, map_BHW: Tensor) -> KeepAugment:
    """Let an operation use a map that was computed once, unless its control has a map of its own."""
    if config.control in MAPS:
        return operation

    def computed(*_: object) -> Tensor:
        return map_BHW

    return replace(operation, saliency=mean_map(computed) if config.control == "mean_map" else computed)


def _differs(one_BCHW: Tensor, other_BCHW: Tensor, tolerance: float) -> Tensor:
    return (one_BCHW.int() - other_BCHW.int()).abs().amax(1) > tolerance


def _network(
    options: FidelityOptions, source: str, arch: str, field: str, data: EvaluationImages, device: torch.device
) -> Network:
    opened = open_network(
        source, arch=arch, pretrained=options.pretrained and not Path(source).exists(), field=field
    )
    opened = replace(opened, model=opened.model.to(device))
    return Network(opened, Normalize(opened.mean, opened.std), data.known_to(opened))


def _policy(name: str, options: FidelityOptions) -> Policy | None:
    return POLICIES[name](options) if name in POLICIES else None


def _names(options: FidelityOptions) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in options.augmentations.split(",") if name.strip()))
    unknown = [name for name in names if name not in (*CUTS, *POLICIES)]
    if unknown or not names:
        raise UserError(
            f"augmentations must be among {', '.join((*CUTS, *POLICIES))}, got {options.augmentations!r}"
        )
    if not 0 < options.length <= 1:
        raise UserError(f"length must be in (0, 1], a fraction of the image side, got {options.length}")
    return names


def print_numbers(result: dict[str, Any]) -> None:
    """Print one line per row."""
    table = Table(title=f"{result['images']} images; regions by {result['network']}, judged by {result['judge']}")
    table.caption = (
        f"percent and points, but object per area; [95 % interval over images]; labels are {result['labels']}"
    )
    table.add_column("augmentation", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column.replace("_", " "), justify="right", no_wrap=True)
    for title, row in result["rows"].items():
        table.add_row(title, *(_cell(row[name], 2 if name == "object_per_area" else 1) for name in COLUMNS))
    natural = Console(width=1000).measure(table).maximum
    Console(width=max(Console().width, natural)).print(table)


def _cell(value: dict[str, Any], digits: int) -> str:
    if value["mean"] is None:
        return "-"
    return f"{value['mean']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


def report_fidelity(options: FidelityOptions) -> None:
    """Measure, print and write the numbers; implements ``python -m pretrain.fidelity``."""
    check_ranges(
        options, images=(1, None), batch_size=(1, None), seed=(0, None), magnitude=(0, 30), quantile=(0, 1)
    )
    check_ranges(options, scale=(0.01, 4), tolerance=(0, 255), draws=(1, None))
    check_targets(options.json_file, options.picture)
    if options.picture:
        check_picture_name(options.picture)
    result = measure(options)
    print_numbers(result)
    write_json(result, options.json_file)
