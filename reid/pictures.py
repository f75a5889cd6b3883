"""Pictures that people would rather look at than read: ranked lists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from keepcore.run.images import read_rgb
from reid.config import Data
from reid.evaluate import embed

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

    from reid.data import Photo, Source

WIDTH, HEIGHT, FRAME, GAP = 64, 128, 4, 6
_COLOURS = {True: (40, 160, 60), False: (210, 50, 40), None: (90, 90, 90)}


def ranked_lists(
    model: nn.Module,
    source: Source,
    data: Data,
    accelerator: Accelerator,
    path: Path,
    *,
    rows: int = 6,
    columns: int = 10,
) -> None:
    """Draw queries (grey frame) and the nearest gallery images: right in green, wrong in red.

    Args:
        model: a ReidModel.
        source: data set.
        data: input size.
        accelerator: devices.
        path: PNG to write.
        rows: number of queries, spread evenly over the query set.
        columns: gallery images per query; those of its own camera and identity are left out.

    Source: the ranked lists of torchreid and fast-reid.
    """
    step = max(1, len(source.query) // rows)
    queries = source.query[::step][:rows]
    distance_QG = -embed(model, queries, data, accelerator) @ embed(model, source.gallery, data, accelerator).T
    width, height = WIDTH + 2 * FRAME, HEIGHT + 2 * FRAME
    sheet = Image.new("RGB", ((columns + 1) * (width + GAP) + 2 * GAP, rows * (height + GAP) + GAP), "white")
    for row, (query, distance_G) in enumerate(zip(queries, distance_QG, strict=True)):
        nearest = [source.gallery[i] for i in distance_G.argsort(stable=True).tolist()]
        shown = [p for p in nearest if (p.person, p.camera) != (query.person, query.camera)][:columns]
        top = GAP + row * (height + GAP)
        sheet.paste(_framed(query, None), (GAP, top))
        for column, photo in enumerate(shown, 1):
            sheet.paste(_framed(photo, photo.person == query.person), (2 * GAP + column * (width + GAP), top))
    sheet.save(path)


def _framed(photo: Photo, right: bool | None) -> Image.Image:
    return ImageOps.expand(read_rgb(photo.path).resize((WIDTH, HEIGHT)), FRAME, _COLOURS[right])
