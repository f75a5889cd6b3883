"""``python -m semi_supervised.pictures RUN OUT.png``: weak, strong and kept views of a run's own images.

Rows: weak view, crop of the strong view, its saliency (square root), RandAugment and Cutout, the same with the
region that matters pasted back. A weak view's frame is green where the unlabelled loss would count it, else red.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import UserError, guard

PROG = "python -m semi_supervised.pictures"
CELL = 64
COUNTED, LEFT_OUT = (30, 160, 70), (210, 60, 50)


@dataclass(frozen=True)
class PicturesConfig:
    """Draw the views of a run.

    Attributes:
        checkpoint: a .pth of semi_supervised.train, or its run folder (then last.pth).
        out: PNG or JPEG to write.
        root: folder of the data; "" takes the one of training.
        columns: images.
        seed: of the draws.
    """

    checkpoint: str
    out: str
    root: str = ""
    columns: int = 10
    seed: int = 0


def draw_views(config: PicturesConfig) -> None:
    """Draw the sheet.

    Args:
        config: of the command.

    Raises:
        UserError: no checkpoint, no data, or a recipe that pastes nothing.

    Source: Gong et al., CVPR 2021, Figure 1 and Sec. 4.3.
    """
    import torch

    from engine.checkpoint import check_target
    from engine.ranges import within
    from imagesets.contact_sheet import boxed, heat, picture, save_picture, sheet
    from imagesets.images import Normalize
    from keepcore.draws import BatchShard
    from semi_supervised.data import MEAN, STD, Crops, open_parts
    from semi_supervised.losses import pseudo_target
    from semi_supervised.strong import build_strong
    from semi_supervised.trained import load_trained

    within(config, columns=(1, 200), seed=(0, 2**62))
    check_target(Path(config.out))
    trained = load_trained(config.checkpoint)
    recipe, model = trained.config, trained.model
    if recipe.augment.op == "none":
        raise UserError(f"{trained.path}: its recipe pastes nothing (augment.op none)")
    data = replace(recipe.data, root=config.root or recipe.data.root)
    crops = Crops(open_parts(data, recipe.seed).unlabelled, data, 2)
    torch.manual_seed(config.seed)
    chosen = [index * len(crops) // config.columns for index in range(config.columns)]
    pairs = [crops[index][0] for index in chosen]
    weak_UCHW, base_UCHW = (torch.stack(each) for each in zip(*pairs, strict=True))
    normalize = Normalize(MEAN, STD)
    generators = tuple(torch.Generator().manual_seed(config.seed + i) for i in (0, 1))
    full = replace(recipe, augment=replace(recipe.augment, head="full"), compile=False)
    strong = build_strong(full, lambda: model, normalize, (generators[0], generators[1]), BatchShard())
    views = strong(base_UCHW)
    assert views.kept is not None and strong.operation is not None  # noqa: PT018 - op is not none
    with torch.no_grad():
        target = pseudo_target(model(normalize(weak_UCHW)), "hard", 1.0, recipe.loss.threshold)
    map_UHW = strong.operation.map_of(model, views.clean_UCHW, None)
    size = (CELL, CELL)
    colours = [COUNTED if counted else LEFT_OUT for counted in target.counted_B.tolist()]
    whole = torch.tensor([1, 1, data.image_size - 1, data.image_size - 1])
    boxes_U4 = views.kept.boxes_B4
    rows = [
        [boxed(image, size, [(whole, colour)]) for image, colour in zip(weak_UCHW, colours, strict=True)],
        [boxed(image, size, [(box, COUNTED)]) for image, box in zip(base_UCHW, boxes_U4, strict=True)],
        [heat(map_HW, size) for map_HW in map_UHW],
        [picture(normalize.undo(image), size) for image in views.plain_UCHW],
        [picture(normalize.undo(image), size) for image in views.strong_UCHW],
    ]
    save_picture(sheet(rows, ("weak", "crop, box", "saliency", "strong", "kept"), label=80), Path(config.out))


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and draw; returns the exit code."""

    def command() -> None:
        from engine.command import parse, with_positional

        given = with_positional(argv, "checkpoint", "out")
        draw_views(parse(PicturesConfig, given, prog=PROG, description=str(__doc__)))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
