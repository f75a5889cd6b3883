"""Rows of a contact sheet that compare a plain and a selective operation."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from imagesets.contact_sheet import Colour, boxed, heat, picture
from imagesets.normalize import Normalize
from keepcore import KeepAugment, anywhere


def region_rows(
    selective: KeepAugment,
    model: nn.Module,
    clean_BCHW: Tensor,
    labels_B: Tensor,
    normalize: Normalize,
    size: tuple[int, int],
    colours: tuple[Colour, Colour],
    seed: int,
) -> list[list[Tensor]]:
    """Apply an operation with and without its selection, and make the cells of both, one column per image.

    Args:
        selective: operation that cuts; its plain version has the same draws.
        model: network whose saliency is used.
        clean_BCHW: normalised floats.
        labels_B: int64 labels.
        normalize: normalisation of the images.
        size: (width, height) of the cells, pixels.
        colours: colours of the plain and of the selective box.
        seed: random seed of the draws.

    Returns:
        Four rows: images with both boxes, saliency, plain results, selective results.

    Source: Gong et al., CVPR 2021, Figure 1.
    """
    plain, kept = (
        operation(model, clean_BCHW, labels_B, generator=torch.Generator().manual_seed(seed))
        for operation in (replace(selective, selector=anywhere), selective)
    )
    boxes = zip(plain.boxes_B4, kept.boxes_B4, strict=True)
    return [
        [
            boxed(normalize.undo(image_CHW), size, list(zip(pair, colours, strict=True)))
            for image_CHW, pair in zip(clean_BCHW, boxes, strict=True)
        ],
        [heat(map_HW, size) for map_HW in selective.map_of(model, clean_BCHW, labels_B)],
        [picture(normalize.undo(image_CHW), size) for image_CHW in plain.images_BCHW],
        [picture(normalize.undo(image_CHW), size) for image_CHW in kept.images_BCHW],
    ]
