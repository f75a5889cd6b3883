"""KeepAugment: augment images without destroying what they are about (Gong et al., CVPR 2021).

Five lines in any training loop::

    keep = KeepCutMix(alpha=1.0, quantile=0.6, saliency=at_scale(input_gradient, 0.5))
    for images, labels in loader:                              # normalised floats, int64 labels
        kept = keep(model, images, labels)                     # the model is left unchanged
        loss = cross_entropy(model(kept.images_BCHW), kept.target(labels, num_classes))
        ...

Names load on first use, so that importing the package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keepcore.borrow import borrowed
    from keepcore.build import build_keep
    from keepcore.cached import MapCache
    from keepcore.config import KeepConfig
    from keepcore.early_head import EarlyHead, early_logits, without_early_head
    from keepcore.features import feature_gradient
    from keepcore.keep import KeepAugment
    from keepcore.kept import Kept
    from keepcore.operations import KeepCutMix, KeepCutout, KeepPaste, KeepRandomErasing
    from keepcore.regions import anywhere
    from keepcore.saliency import at_scale, input_gradient
    from keepcore.views import TwoViews

__version__ = "0.1.0"
_HOME = {
    "EarlyHead": "early_head",
    "KeepAugment": "keep",
    "KeepConfig": "config",
    "KeepCutMix": "operations",
    "KeepCutout": "operations",
    "KeepPaste": "operations",
    "KeepRandomErasing": "operations",
    "Kept": "kept",
    "MapCache": "cached",
    "TwoViews": "views",
    "anywhere": "regions",
    "at_scale": "saliency",
    "borrowed": "borrow",
    "build_keep": "build",
    "early_logits": "early_head",
    "feature_gradient": "features",
    "input_gradient": "saliency",
    "without_early_head": "early_head",
}
__all__ = [
    "EarlyHead",
    "KeepAugment",
    "KeepConfig",
    "KeepCutMix",
    "KeepCutout",
    "KeepPaste",
    "KeepRandomErasing",
    "Kept",
    "MapCache",
    "TwoViews",
    "anywhere",
    "at_scale",
    "borrowed",
    "build_keep",
    "early_logits",
    "feature_gradient",
    "input_gradient",
    "without_early_head",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'keepcore' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"keepcore.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
