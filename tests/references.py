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


def closed_form_weights(model):
    """Fill a network with weights that any language can compute, and set it to evaluation mode."""
    with torch.no_grad():
        for number, (name, tensor) in enumerate(model.state_dict().items()):
            if tensor.ndim == 0:
                continue
            wave = torch.sin(1.7 * torch.arange(tensor.numel(), dtype=torch.float64) + number).view_as(tensor)
            if tensor.ndim == 4:
                wave *= 2 / tensor[0].numel() ** 0.5
            elif tensor.ndim == 2:
                wave *= 0.3
            elif name.endswith("running_var"):
                wave = 1 + wave / 2
            elif name.endswith("weight"):
                wave = 1 + wave / 5
            else:
                wave *= 0.1
            tensor.copy_(wave)
    return model.eval()


def wide_resnet_logits(weights, images_BCHW, variant):
    """Evaluate a wide residual network from its weights, as its papers' code writes it down."""
    leaky = {"paper": 0.0, "uda": 0.0, "fixmatch": 0.1, "usb": 0.1}[variant]
    eps = {"paper": 1e-5, "uda": 1e-5, "fixmatch": 1e-3, "usb": 1e-5}[variant]
    tensorflow = variant in ("uda", "fixmatch")

    def conv(x, name, stride):
        kernel = weights[f"{name}.weight"]
        side = kernel.shape[2]
        pads = []
        for length in (x.shape[3], x.shape[2]):
            total = max((-(-length // stride) - 1) * stride + side - length, 0)
            pads += [total // 2, total - total // 2] if tensorflow else [side // 2, side // 2]
        x = torch.nn.functional.pad(x, pads)
        return torch.nn.functional.conv2d(x, kernel, weights.get(f"{name}.bias"), stride)

    def norm(x, name, eps=eps):
        mean, var = weights[f"{name}.running_mean"], weights[f"{name}.running_var"]
        scale = weights[f"{name}.weight"] / (var + eps).sqrt()
        x = (x - mean[:, None, None]) * scale[:, None, None] + weights[f"{name}.bias"][:, None, None]
        return torch.where(x > 0, x, leaky * x)

    x = conv(images_BCHW, "conv1", 1)
    for stage in (1, 2, 3):
        number = 0
        while f"block{stage}.{number}.conv1.weight" in weights:
            block, stride = f"block{stage}.{number}", 2 if stage > 1 and number == 0 else 1
            if f"{block}.shortcut.weight" not in weights:
                branch, skip = norm(x, f"{block}.bn1"), x
            elif variant == "usb" and stage > 1:
                branch, skip = x, conv(x, f"{block}.shortcut", stride)
            else:
                branch = norm(x, f"{block}.bn1")
                raw = variant == "uda" or (variant == "fixmatch" and stage > 1)
                skip = conv(x if raw else branch, f"{block}.shortcut", stride)
            hidden = norm(conv(branch, f"{block}.conv1", stride), f"{block}.bn2")
            x = skip + conv(hidden, f"{block}.conv2", 1)
            number += 1
    pooled = norm(x, "bn", 1e-3 if variant == "usb" else eps).mean((2, 3))
    return pooled @ weights["fc.weight"].T + weights["fc.bias"]
