"""Pictures of what the augmentation does: image, saliency, chosen box, result.

``python -m pretrain.pictures RUN OUT.png`` draws them for a trained backbone and its recipe.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from keepcore.run.errors import UserError, guard

CELL, GAP = 96, 6


def region_sheet(checkpoint_path: Path, out: Path, *, columns: int = 8, seed: int = 3) -> None:
    """Draw one column per image: image with the plain (red) and the selective box (green), saliency, both results.

    Args:
        checkpoint_path: of pretrain.train, or its run folder.
        out: PNG to write.
        columns: number of images.
        seed: of the draws; both boxes come from the same draw.

    Raises:
        UserError: the checkpoint's recipe has no region to show.

    Source: Gong et al., CVPR 2021, Figure 1.
    """
    import torch
    from PIL import Image

    from keepcore import anywhere, build_keep
    from keepcore.run.images import Normalize
    from pretrain.data import Transformed, eval_transform, open_source
    from pretrain.trained import load_trained

    trained = load_trained(str(checkpoint_path))
    config, model = trained.config, trained.model
    if config.augment.op not in ("cutout", "cutmix", "erasing"):
        raise UserError(f"{checkpoint_path}: its recipe cuts nothing (augment.op {config.augment.op})")
    source = open_source(config.data)
    dataset = Transformed(source.val, eval_transform(config.data))
    step = len(dataset) // columns
    images, labels = zip(*(dataset[i * step + i % 10] for i in range(columns)), strict=True)
    normalize = Normalize(source.mean, source.std)
    clean_BCHW, labels_B = normalize(torch.stack(images)), torch.tensor(labels)
    options = replace(config.augment, selective=True, prob=1.0, per="batch", head="full")
    selective = build_keep(options)
    plain = replace(selective, selector=anywhere)
    draws = [torch.Generator().manual_seed(seed) for _ in range(2)]
    kept = selective(model, clean_BCHW, labels_B, generator=draws[0])
    random = plain(model, clean_BCHW, labels_B, generator=draws[1])
    map_BHW = selective.map_of(model, clean_BCHW, labels_B)
    sheet = Image.new("RGB", (columns * (CELL + GAP) + GAP, 4 * (CELL + GAP) + GAP), "white")
    for column in range(columns):
        boxed = normalize.undo(clean_BCHW[column])
        rows = [
            _boxed(boxed, [(random.boxes_B4[column], (220, 40, 40)), (kept.boxes_B4[column], (30, 200, 70))]),
            _heat(map_BHW[column]),
            _picture(normalize.undo(random.images_BCHW[column])),
            _picture(normalize.undo(kept.images_BCHW[column])),
        ]
        for row, cell in enumerate(rows):
            sheet.paste(cell, (GAP + column * (CELL + GAP), GAP + row * (CELL + GAP)))
    sheet.save(out)


def fidelity_sheet(titles: Sequence[str], looked: Sequence[Sequence[Any]], out: Path, columns: int = 8) -> None:
    """Draw clean images, their saliency, and below one row per augmentation.

    Args:
        titles: of the augmentations.
        looked: per augmentation: clean_BCHW uint8, map_BHW, result_BCHW uint8 of the same images.
        out: PNG to write.
        columns: number of images.

    Source: Gong et al., CVPR 2021, Figure 1.
    """
    from PIL import Image, ImageDraw

    clean_BCHW, map_BHW, _ = looked[0]
    count = min(columns, len(clean_BCHW))
    chosen = [i * len(clean_BCHW) // count for i in range(count)]
    rows = [
        ("clean", [_picture(clean_BCHW[i]) for i in chosen]),
        ("saliency", [_heat(map_BHW[i]) for i in chosen]),
    ]
    rows += [
        (title, [_picture(result_BCHW[i]) for i in chosen])
        for title, (_, _, result_BCHW) in zip(titles, looked, strict=True)
    ]
    label = 130
    sheet = Image.new("RGB", (label + count * (CELL + GAP) + GAP, len(rows) * (CELL + GAP) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (title, cells) in enumerate(rows):
        top = GAP + row * (CELL + GAP)
        draw.text((GAP, top + CELL // 2 - 6), title, fill="black")
        for column, cell in enumerate(cells):
            sheet.paste(cell, (label + GAP + column * (CELL + GAP), top))
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out)


def _picture(image_CHW: Any) -> Any:
    from PIL import Image

    picture = Image.fromarray(image_CHW.permute(1, 2, 0).numpy())
    return picture.resize((CELL, CELL), Image.Resampling.NEAREST)


def _heat(map_HW: Any) -> Any:
    """Show the square root of a map: saliency spans orders of magnitude."""
    import torch

    root_HW = (map_HW / map_HW.max().clamp_min(1e-12)).sqrt()
    return _picture((root_HW * 255).to(torch.uint8)[None].expand(3, -1, -1))


def _boxed(image_CHW: Any, boxes: Sequence[tuple[Any, tuple[int, int, int]]]) -> Any:
    from PIL import ImageDraw

    picture, scale = _picture(image_CHW), CELL / image_CHW.shape[-1]
    for box_4, colour in boxes:
        y0, x0, y1, x1 = (int(v * scale) for v in box_4.tolist())
        if y1 > y0 and x1 > x0:
            ImageDraw.Draw(picture).rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=3)
    return picture


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and draw; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 2 or "--help" in arguments:
        print("usage: python -m pretrain.pictures CHECKPOINT_OR_RUN OUT.png")
        return 0 if "--help" in arguments else 2
    return guard(lambda: region_sheet(Path(arguments[0]), Path(arguments[1])))


if __name__ == "__main__":
    sys.exit(main())
