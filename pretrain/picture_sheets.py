"""Contact sheets of an augmentation: images, saliency, selected boxes and results."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from engine.errors import UserError, check_ranges
from imagesets.contact_sheet import check_picture_name, heat, picture, render, save_picture, sheet
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


def prediction_sheet(examples: Sequence[tuple[Tensor, Tensor, str]], out: Path) -> None:
    """Draw one column per image: the image under its caption, and its saliency.

    Args:
        examples: image uint8 C x S x S, map_SS and caption.
        out: image file to write.

    Source: Selvaraju et al., ICCV 2017, Figure 1 (the layout).
    """
    figure = Figure(figsize=(2.0 * len(examples), 4.6), dpi=100)
    axes_2C = figure.subplots(2, len(examples), squeeze=False)
    for column, (image_CSS, map_SS, caption) in enumerate(examples):
        axes_2C[0][column].imshow(image_CSS.permute(1, 2, 0).numpy())
        axes_2C[0][column].set_title(caption, fontsize=9)
        axes_2C[1][column].imshow(map_SS.numpy(), cmap="magma")
    for axes in axes_2C.flat:
        axes.set_axis_off()
    axes_2C[1][0].set_title("saliency (feature gradient)", fontsize=9, loc="left")
    figure.tight_layout()
    save_picture(render(figure), out)


def exploration_sheet(columns: Sequence[tuple[str, Sequence[Tensor], Sequence[str]]], out: Path) -> None:
    """Draw one row per image: pictures and maps under their captions.

    Args:
        columns: title, and for each image a picture (uint8 C x S x S) or map_SS, and its caption.
        out: image file to write.

    Source: Gong et al., CVPR 2021, Figure 1.
    """
    rows = len(columns[0][1])
    figure = Figure(figsize=(1.9 * len(columns), 2.2 * rows + 0.5), dpi=100)
    axes_RC = figure.subplots(rows, len(columns), squeeze=False)
    for column, (title, pictures, captions) in enumerate(columns):
        for row, (cell, caption) in enumerate(zip(pictures, captions, strict=True)):
            axes = axes_RC[row][column]
            if cell.ndim == 3:
                axes.imshow(cell.permute(1, 2, 0).numpy())
            else:
                axes.imshow(cell.sqrt().numpy(), cmap="magma")  # saliency spans orders of magnitude
            axes.set_axis_off()
            axes.set_title(f"{title}\n{caption}" if row == 0 else caption, fontsize=8)
    figure.tight_layout()
    save_picture(render(figure), out)
