"""Cells and sheets of pictures: images, maps, boxes. Imports Pillow and torch when called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

GAP = 6
Colour = tuple[int, int, int]


def picture(image_CHW: Tensor, size: tuple[int, int]) -> Image.Image:
    """Make a cell of an image.

    Args:
        image_CHW: uint8 RGB.
        size: (width, height) of the cell, pixels.
    """
    from PIL import Image

    cell = Image.fromarray(image_CHW.permute(1, 2, 0).cpu().numpy())
    return cell.resize(size, Image.Resampling.NEAREST)


def heat(map_HW: Tensor, size: tuple[int, int]) -> Image.Image:
    """Make a cell of the square root of a map: saliency spans orders of magnitude.

    Args:
        map_HW: not negative.
        size: (width, height) of the cell, pixels.
    """
    import torch

    root_HW = (map_HW / map_HW.max().clamp_min(1e-12)).sqrt()
    return picture((root_HW * 255).to(torch.uint8)[None].expand(3, -1, -1), size)


def boxed(image_CHW: Tensor, size: tuple[int, int], boxes: Sequence[tuple[Any, Colour]]) -> Image.Image:
    """Make a cell of an image with boxes drawn on it.

    Args:
        image_CHW: uint8 RGB.
        size: (width, height) of the cell, pixels.
        boxes: (box_4, colour); ``(y0, x0, y1, x1)``, half-open, pixels of the image; empty ones are not drawn.
    """
    from PIL import ImageDraw

    cell, (height, width) = picture(image_CHW, size), image_CHW.shape[-2:]
    down, across = size[1] / height, size[0] / width
    for box_4, colour in boxes:
        y0, x0, y1, x1 = (int(v * s) for v, s in zip(box_4.tolist(), (down, across) * 2, strict=True))
        if y1 > y0 and x1 > x0:
            ImageDraw.Draw(cell).rectangle((x0, y0, x1 - 1, y1 - 1), outline=colour, width=3)
    return cell


def sheet(rows: Sequence[Sequence[Image.Image]], titles: Sequence[str] = (), label: int = 0) -> Image.Image:
    """Lay cells of one size out, a row a list.

    Args:
        rows: cells.
        titles: of the rows, written at their left.
        label: width of the titles' column, pixels.
    """
    from PIL import Image, ImageDraw

    width, height = rows[0][0].width + GAP, rows[0][0].height + GAP
    columns = max(len(row) for row in rows)
    whole = Image.new("RGB", (label + columns * width + GAP, len(rows) * height + GAP), "white")
    for index, row in enumerate(rows):
        top = GAP + index * height
        if titles:
            ImageDraw.Draw(whole).text((GAP, top + height // 2 - 9), titles[index], fill="black")
        for column, cell in enumerate(row):
            whole.paste(cell, (label + GAP + column * width, top))
    return whole


def save_picture(image: Image.Image, path: Path) -> None:
    """Write a picture; a failure leaves an older file as it is.

    Args:
        image: the picture.
        path: .png, .jpg or another suffix that Pillow knows.

    Raises:
        UserError: unknown suffix, or the picture cannot be encoded or written.
    """
    from PIL import Image

    from engine.checkpoint import replacing
    from engine.errors import UserError

    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind not in Image.SAVE:  # Pillow reads more formats than it writes
        raise UserError(f"{path}: no picture format has the suffix {path.suffix!r}: .png, .jpg")
    with replacing(path) as file:
        image.save(file, kind)
