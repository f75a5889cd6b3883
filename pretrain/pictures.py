"""Pictures of what the augmentation does: image, saliency, chosen box, result.

``python -m pretrain.pictures RUN OUT.png`` draws them for a trained backbone and its recipe.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import UserError, guard
from imagesets.contact_sheet import boxed, heat, picture, save_picture, sheet

CELL = 96


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

    from imagesets.images import Normalize
    from keepcore import anywhere, build_keep
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
    size = (CELL, CELL)
    both = [((random.boxes_B4[i], (220, 40, 40)), (kept.boxes_B4[i], (30, 200, 70))) for i in range(columns)]
    rows = [
        [boxed(normalize.undo(clean_BCHW[i]), size, both[i]) for i in range(columns)],
        [heat(map_HW, size) for map_HW in map_BHW],
        [picture(normalize.undo(image_CHW), size) for image_CHW in random.images_BCHW],
        [picture(normalize.undo(image_CHW), size) for image_CHW in kept.images_BCHW],
    ]
    save_picture(sheet(rows), out)


def fidelity_sheet(titles: Sequence[str], looked: Sequence[Sequence[Any]], out: Path, columns: int = 8) -> None:
    """Draw clean images, their saliency, and below one row per augmentation.

    Args:
        titles: of the augmentations.
        looked: per augmentation: clean_BCHW uint8, map_BHW, result_BCHW uint8 of the same images.
        out: PNG to write.
        columns: number of images.

    Source: Gong et al., CVPR 2021, Figure 1.
    """
    clean_BCHW, map_BHW, _ = looked[0]
    count, size = min(columns, len(clean_BCHW)), (CELL, CELL)
    chosen = [i * len(clean_BCHW) // count for i in range(count)]
    rows = [
        [picture(clean_BCHW[i], size) for i in chosen],
        [heat(map_BHW[i], size) for i in chosen],
        *([picture(result_BCHW[i], size) for i in chosen] for *_, result_BCHW in looked),
    ]
    save_picture(sheet(rows, ("clean", "saliency", *titles), label=130), out)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and draw; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 2 or "--help" in arguments:
        print("usage: python -m pretrain.pictures CHECKPOINT_OR_RUN OUT.png")
        return 0 if "--help" in arguments else 2
    return guard(lambda: region_sheet(Path(arguments[0]), Path(arguments[1])))


if __name__ == "__main__":
    sys.exit(main())
