"""Slow, obvious loop versions of the kernels, written from the definitions and not from the code."""

import math

import numpy as np
import torch


def boxes_of(height, width, h, w, border):
    """List every candidate box in raster order."""
    boxes = []
    if border == "inside":
        for y in range(height - h + 1):
            for x in range(width - w + 1):
                boxes.append((y, x, y + h, x + w))
    else:
        for cy in range(height):
            for cx in range(width):
                y0, x0 = cy - h // 2, cx - w // 2
                clip = lambda v, top: min(max(v, 0), top)  # noqa: E731
                boxes.append((clip(y0, height), clip(x0, width), clip(y0 + h, height), clip(x0 + w, width)))
    return boxes


def score_of(saliency, box, reduce="sum"):
    y0, x0, y1, x1 = box
    total, count = 0.0, 0
    for y in range(y0, y1):
        for x in range(x0, x1):
            total += float(saliency[y, x])
            count += 1
    return total if reduce == "sum" else total / max(count, 1)


def eligible_weights(scores, quantile, side):
    """Chance of each candidate under: break ties at random, keep the K extreme ranks, draw uniformly."""
    n = len(scores)
    if side == "below":
        k = max(1, math.floor(quantile * n + 1e-9))
        keyed = list(scores)
    else:
        k = max(1, math.ceil((1 - quantile) * n - 1e-9))
        keyed = [-s for s in scores]
    limit = sorted(keyed)[k - 1]
    lower = [s < limit for s in keyed]
    tied = [s == limit for s in keyed]
    share = (k - sum(lower)) / sum(tied)
    return np.array([1.0 if low else share if tie else 0.0 for low, tie in zip(lower, tied, strict=True)]) / k


def composite(inside, outside, boxes):
    out = outside.clone()
    for i, (y0, x0, y1, x1) in enumerate(boxes.tolist()):
        for c in range(out.shape[1]):
            for y in range(y0, y1):
                for x in range(x0, x1):
                    out[i, c, y, x] = inside[i, c, y, x]
    return out


def gradient_by_difference(logits_fn, image, label, step=1e-3):
    """|d logit / d pixel|, channel maximum, by central differences in float64."""
    channels, height, width = image.shape
    out = torch.zeros(channels, height, width, dtype=torch.float64)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                ends = []
                for sign in (1, -1):
                    moved = image.clone()
                    moved[c, y, x] += sign * step
                    with torch.no_grad():
                        ends.append(logits_fn(moved[None])[0, label].item())
                out[c, y, x] = (ends[0] - ends[1]) / (2 * step)
    return out.abs().amax(0)
