"""Contact sheets of an augmentation: images, saliency, selected boxes and results."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import UserError, check_ranges
from imagesets.contact_sheet import check_picture_name, heat, picture, save_picture, sheet
from imagesets.normalize import Normalize
from imagesets.region_rows import region_rows
from keepcore import build_keep
from pretrain.data import Transformed, eval_transform, open_source
from pretrain.load_run import load_trained
from pretrain.pictures import PicturesOptions

SIZE = (96, 96)
PLAIN, SELECTIVE = (220, 40, 40), (30, 200, 70)


def draw_regions(options: PicturesOptions) -> None:
    """Draw the sheet; implements ``python -m pretrain.pictures``."""
    check_ranges(options, columns=(1, 200), seed=(0, None))
    check_picture_name(options.out)
    region_sheet(Path(options.checkpoint), Path(options.out), columns=options.columns, seed=options.seed)
    print(options.out)


def region_sheet(checkpoint_path: Path, out: Path, *, columns: int = 8, seed: int = 3) -> None:
    """Draw one column per image: image with the plain (red) and the selective box (green), saliency, both results.

    Args:
        checkpoint_path: .pth file written by pretrain.train, or a run folder.
        out: image file to write.
        columns: number of images.
        seed: random seed; both boxes come from the same draw.

    Raises:
        UserError: the checkpoint's recipe cuts no regions.

    Source: Gong et al., CVPR 2021, Figure 1.
    """
    trained = load_trained(str(checkpoint_path))
    config, model = trained.config, trained.model
    if config.augment.op not in ("cutout", "cutmix", "erasing"):
        raise UserError(f"{checkpoint_path}: its recipe cuts no regions to draw (augment.op {config.augment.op})")
    source = open_source(config.data)
    dataset = Transformed(source.val, eval_transform(config.data))
    step = len(dataset) // columns
    images, labels = zip(*(dataset[i * step + i % 10] for i in range(columns)), strict=True)
    normalize = Normalize(source.mean, source.std)
    clean_BCHW, labels_B = normalize(torch.stack(images)), torch.tensor(labels)
    selective = build_keep(replace(config.augment, selective=True, prob=1.0, per="batch", head="full"))
    rows = region_rows(selective, model, clean_BCHW, labels_B, normalize, SIZE, (PLAIN, SELECTIVE), seed)
    save_picture(sheet(rows), out)


def fidelity_sheet(
    titles: Sequence[str], results: Sequence[Sequence[Tensor]], out: Path, columns: int = 8
) -> None:
    """Draw clean images, their saliency, and one row per augmentation below them.

    Args:
        titles: names of the augmentations.
        results: for each augmentation, clean_BCHW uint8, map_BHW and result_BCHW uint8 of the same images.
        out: image file to write.
        columns: number of images.

    Source: Gong et al., CVPR 2021, Figure 1.
    """
    clean_BCHW, map_BHW, _ = results[0]
    count = min(columns, len(clean_BCHW))
    indices = [i * len(clean_BCHW) // count for i in range(count)]
    rows = [
        [picture(clean_BCHW[i], SIZE) for i in indices],
        [heat(map_BHW[i], SIZE) for i in indices],
        *([picture(result_BCHW[i], SIZE) for i in indices] for *_, result_BCHW in results),
    ]
    save_picture(sheet(rows, ("clean", "saliency", *titles)), out)
