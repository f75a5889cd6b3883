"""Draw ranked lists, erasing sheets and score histograms."""

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from engine.errors import UserError
from imagesets.contact_sheet import DPI, Colour, framed, render, sheet
from imagesets.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from imagesets.readers import read_rgb
from imagesets.region_rows import region_rows
from keepcore import build_keep
from reid.config import Protocol
from reid.dataset_layouts import ReidSet
from reid.evaluation.features import Features
from reid.evaluation.report import distances
from reid.evaluation.verification import Verification
from reid.load_run import TrainedReid
from reid.model import ReidModel
from reid.photos import eval_transform

WIDTH, HEIGHT = 64, 128
RIGHT, WRONG, JUNK, QUERY = (40, 160, 60), (210, 50, 40), (230, 180, 40), (90, 90, 90)


def ranked_lists(
    features: Features, source: ReidSet, protocol: Protocol, *, rows: int = 6, columns: int = 10
) -> Image.Image:
    """Draw queries and their nearest gallery images.

    Grey frame: query. Green: same identity, another camera. Red: another identity. Yellow: the query's own
    identity from its own camera, which does not count.

    Args:
        features: features of the data set, in its order.
        source: the data set.
        protocol: protocol of the evaluation.
        rows: number of queries, spread evenly over the query set.
        columns: number of gallery images per query.

    Source: the ranked lists of torchreid and fast-reid.
    """
    count = min(rows, len(source.query))
    rows_shown = [i * len(source.query) // count for i in range(count)]
    queries = features if protocol.rerank else _of_queries(features, rows_shown)  # re-ranking needs all queries
    lines = []
    for block in distances(queries, protocol):
        for offset, row_G in enumerate(block.distance_CG):
            number = block.start + offset
            query = number if protocol.rerank else rows_shown[number]
            if query in rows_shown:
                nearest = block.order_G[np.lexsort((block.order_G, row_G))[:columns]]
                lines.append(_line(features, source, query, nearest))
    return sheet(lines)


def _of_queries(features: Features, indices: list[int]) -> Features:
    """Select the features and labels of some queries."""
    labels = features.labels
    few = labels._replace(query_ids=labels.query_ids[indices], query_cams=labels.query_cams[indices])
    return features._replace(query_QD=features.query_QD[indices], labels=few)


def _line(features: Features, source: ReidSet, query: int, nearest: Any) -> list[Tensor]:
    labels = features.labels
    line = [photo_cell(source.query[query].path, QUERY)]
    for index in nearest.tolist():
        same = labels.gallery_ids[index] == labels.query_ids[query]
        own = same and labels.gallery_cams[index] == labels.query_cams[query]
        line.append(photo_cell(source.gallery[index].path, JUNK if own else RIGHT if same else WRONG))
    return line


def photo_cell(path: Path, colour: Colour) -> Tensor:
    """Draw a photograph in a coloured frame.

    Args:
        path: path of the image.
        colour: RGB colour of the frame, 0 to 255.

    Returns:
        cell_3HW: uint8.

    Raises:
        UserError: the image cannot be read.
    """
    return framed(pil_to_tensor(read_rgb(path).resize((WIDTH, HEIGHT))), colour)


def erasing_sheet(trained: TrainedReid, source: ReidSet, *, columns: int = 10, seed: int = 3) -> Image.Image:
    """Draw training photos with the plain box (red) and the selective one (green) of the same draw.

    The rows show the photos with boxes, saliency (square root), plain results and selective results.

    Args:
        trained: network and recipe.
        source: the data set.
        columns: number of photos, each of a different person.
        seed: seed of the draws.

    Raises:
        UserError: the recipe has no erasing.

    Source: Gong et al., CVPR 2021, Figure 1 and Sec. 4.4.
    """
    options = trained.config.augment
    if options.op not in ("erasing", "cutout"):
        raise UserError(f"{trained.path} was trained without erasing (augment.op {options.op})")
    step = max(1, len(source.people) // columns)
    firsts = {photo.person: photo for photo in reversed(source.train)}
    photos = [firsts[person] for person in source.people[::step][:columns]]
    transform, label_of = eval_transform(trained.config.data), {p: i for i, p in enumerate(source.people)}
    normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
    clean_BCHW = normalize(torch.stack([transform(read_rgb(photo.path)) for photo in photos]))
    labels_B = torch.tensor([label_of[photo.person] for photo in photos])
    selective = build_keep(replace(options, selective=True, shuffled=False, control="none", prob=1.0))
    selective = replace(selective, head=lambda inner: cast(ReidModel, inner).logits)
    size, colours = (WIDTH, HEIGHT), (WRONG, RIGHT)
    rows = region_rows(selective, trained.model, clean_BCHW, labels_B, normalize, size, colours, seed)
    return sheet(rows, ("boxes", "saliency", "plain", "selective"))


def score_histogram(pairs: Verification, *, width: int = 640, height: int = 240) -> Image.Image:
    """Draw the similarities of same-person (green) and other (red) pairs, with the equal-error threshold.

    Args:
        pairs: histograms of an evaluation.
        width: width of the picture, pixels.
        height: height of the picture, pixels.
    """
    edges, same, other = pairs.histograms(width // 4)
    threshold = pairs.result()["threshold_eer"]
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for shares, colour, label in ((other, WRONG, "different people"), (same, RIGHT, "same person")):
        axes.stairs(shares, edges, fill=True, alpha=0.5, color=[c / 255 for c in colour], label=label)
    axes.axvline(threshold, color="black", label=f"equal error at {threshold:.3f}")
    axes.set(xlabel="cosine similarity", ylabel="share of pairs", yticks=[])
    axes.legend(fontsize=8)
    return render(figure)
