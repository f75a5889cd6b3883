"""Pictures that people would rather look at than read: ranked lists, erasing sheets, histograms of scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps

from engine.errors import UserError
from imagesets.contact_sheet import boxed, heat, picture, sheet
from imagesets.images import IMAGENET_MEAN, IMAGENET_STD, Normalize, read_rgb
from reid.config import Protocol
from reid.evaluation.report import distances

if TYPE_CHECKING:
    from reid.evaluation.features import Features
    from reid.evaluation.verification import Verification
    from reid.sources import Source
    from reid.trained import Trained

WIDTH, HEIGHT, FRAME = 64, 128, 4
RIGHT, WRONG, JUNK, QUERY = (40, 160, 60), (210, 50, 40), (230, 180, 40), (90, 90, 90)


def ranked_lists(
    features: Features, source: Source, protocol: Protocol, *, rows: int = 6, columns: int = 10
) -> Image.Image:
    """Draw queries and their nearest gallery images.

    Grey frame: query. Green: same identity, another camera. Red: somebody else. Yellow: the query's own identity
    from its own camera, which does not count.

    Args:
        features: of the data set, in its order.
        source: the data set.
        protocol: how they are compared.
        rows: number of queries, spread evenly over the query set.
        columns: gallery images per query.

    Source: the ranked lists of torchreid and fast-reid.
    """
    count = min(rows, len(source.query))
    chosen = [i * len(source.query) // count for i in range(count)]
    asked = features if protocol.rerank else _of_queries(features, chosen)  # re-ranking looks at all of them
    lines = []
    for block in distances(asked, protocol):
        for offset, row_G in enumerate(block.distance_CG):
            number = block.start + offset
            query = number if protocol.rerank else chosen[number]
            if query in chosen:
                nearest = block.order_G[np.lexsort((block.order_G, row_G))[:columns]]
                lines.append(_line(features, source, query, nearest))
    return sheet(lines)


def _of_queries(features: Features, chosen: list[int]) -> Features:
    """Leave the other queries out."""
    labels = features.labels
    few = labels._replace(query_ids=labels.query_ids[chosen], query_cams=labels.query_cams[chosen])
    return features._replace(query_QD=features.query_QD[chosen], labels=few)


def _line(features: Features, source: Source, query: int, nearest: Any) -> list[Image.Image]:
    labels = features.labels
    line = [framed(source.query[query].path, QUERY)]
    for index in nearest.tolist():
        same = labels.gallery_ids[index] == labels.query_ids[query]
        own = same and labels.gallery_cams[index] == labels.query_cams[query]
        line.append(framed(source.gallery[index].path, JUNK if own else RIGHT if same else WRONG))
    return line


def framed(path: Path, colour: tuple[int, int, int]) -> Image.Image:
    """Make a cell of a photograph in a coloured frame.

    Args:
        path: of the image.
        colour: RGB, 0 to 255.

    Raises:
        UserError: it cannot be read.
    """
    return ImageOps.expand(read_rgb(path).resize((WIDTH, HEIGHT)), FRAME, colour)


def erasing_sheet(trained: Trained, source: Source, *, columns: int = 10, seed: int = 3) -> Image.Image:
    """Draw training photos with the plain box (red) and the selective one (green) of the same draw.

    Rows: photo with boxes, saliency (square root), plain result, selective result.

    Args:
        trained: network and recipe.
        source: the data set.
        columns: number of photos, of different people.
        seed: of the draws.

    Raises:
        UserError: the recipe erases nothing.

    Source: Gong et al., CVPR 2021, Figure 1 and Sec. 4.4.
    """
    from typing import cast

    from keepcore import anywhere, build_keep
    from reid.data import eval_transform
    from reid.model import ReidModel

    options = trained.config.augment
    if options.op not in ("erasing", "cutout"):
        raise UserError(f"{trained.path}: its recipe erases nothing (augment.op {options.op})")
    step = max(1, len(source.people) // columns)
    firsts = {photo.person: photo for photo in reversed(source.train)}
    photos = [firsts[person] for person in source.people[::step][:columns]]
    transform, label_of = eval_transform(trained.config.data), {p: i for i, p in enumerate(source.people)}
    normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
    clean_BCHW = normalize(torch.stack([transform(read_rgb(photo.path)) for photo in photos]))
    labels_B = torch.tensor([label_of[photo.person] for photo in photos])
    selective = build_keep(replace(options, selective=True, shuffled=False, prob=1.0))
    selective = replace(selective, head=lambda inner: cast(ReidModel, inner).logits)
    plain = replace(selective, selector=anywhere)
    kept, random = (
        op(trained.model, clean_BCHW, labels_B, generator=torch.Generator().manual_seed(seed))
        for op in (selective, plain)
    )
    map_BHW = selective.map_of(trained.model, clean_BCHW, labels_B)
    size = (WIDTH, HEIGHT)
    both = [[(random.boxes_B4[i], WRONG), (kept.boxes_B4[i], RIGHT)] for i in range(len(photos))]
    rows = [
        [boxed(normalize.undo(image_CHW), size, boxes) for image_CHW, boxes in zip(clean_BCHW, both, strict=True)],
        [heat(map_HW, size) for map_HW in map_BHW],
        [picture(normalize.undo(image_CHW), size) for image_CHW in random.images_BCHW],
        [picture(normalize.undo(image_CHW), size) for image_CHW in kept.images_BCHW],
    ]
    return sheet(rows, ("boxes", "saliency", "plain", "selective"), label=70)


def score_histogram(pairs: Verification, *, width: int = 640, height: int = 240) -> Image.Image:
    """Draw how similar pairs of one person (green) and of two people (red) are, with the equal-error threshold.

    Args:
        pairs: counts of an evaluation.
        width: pixels.
        height: pixels.
    """
    image = Image.new("RGB", (width, height + 24), "white")
    draw = ImageDraw.Draw(image, "RGBA")
    edges, same, other = pairs.histograms(width // 4)
    top = max(same.max(), other.max(), 1e-9)
    for index in range(len(same)):
        for share, colour in ((other[index], WRONG), (same[index], RIGHT)):
            draw.rectangle((4 * index, height * (1 - share / top), 4 * index + 3, height), fill=(*colour, 130))
    threshold = pairs.result()["threshold_eer"]
    at = width * (threshold - pairs.low) / (pairs.high - pairs.low)
    draw.line((at, 0, at, height), fill="black", width=2)
    draw.text((4, height + 6), f"{edges[0]:g}", fill="black")
    draw.text((width - 20, height + 6), f"{edges[-1]:g}", fill="black")
    draw.text((min(at + 6, width - 150), 4), f"equal error at {threshold:.3f}", fill="black")
    return image
