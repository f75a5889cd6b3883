"""The controls of a recipe with Keep: what would gain as much if the saliency of the image did not matter.

A recipe is a nested mapping, as in the tables; its augmentation is ``augment``, see keepcore.config.KeepConfig.
"""

from collections.abc import Mapping
from typing import Any

from keepcore.config import KeepConfig

DEFAULTS = KeepConfig()
SIGNAL = ("saliency", "stage", "scale")  # what a control without a map has no use for
SELECTION = (*SIGNAL, "score", "head", "bn", "reduce", "match", "quantile", "selective", "control", "shuffled")
CLIPPED = ("cutout", "cutmix")  # operations whose boxes are clipped, so that their sizes differ

Recipe = dict[str, Any]


def is_keep(recipe: Mapping[str, Any]) -> bool:
    """Return whether a recipe chooses regions by saliency and is not a control itself."""
    augment = recipe.get("augment", {})
    return (
        augment.get("op", "none") != "none"
        and augment.get("selective", True)
        and augment.get("control", "none") == "none"
        and not augment.get("shuffled", False)
    )


def plain_of(recipe: Mapping[str, Any]) -> Recipe:
    """Return the plain augmentation of a recipe with Keep or one of its controls.

    Args:
        recipe: paste becomes the policy alone; the others draw their regions without saliency.

    Example:
        >>> plain_of({"augment": {"op": "cutout", "length": 16, "scale": 0.5}})
        {'augment': {'op': 'cutout', 'length': 16, 'selective': False}}
    """
    augment = recipe["augment"]
    rest = {key: value for key, value in recipe.items() if key != "augment"}
    if augment["op"] == "paste":
        return rest
    return rest | {"augment": _without(augment, SELECTION) | {"selective": False}}


def same_recipe(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two recipes are equal; no augmentation and one that is turned off count as the same."""
    return _comparable(one) == _comparable(other)


def controls_of(recipe: Mapping[str, Any]) -> dict[str, Recipe]:
    """Return the controls of a recipe with Keep.

    Args:
        recipe: see :func:`is_keep`.

    Returns:
        Name -> recipe. Cut and mixed regions: the choice among boxes of the plain size (area-matched) and its
        shuffled boxes; boxes of other images (shuffled), or of the same size elsewhere; the batch's mean map, a
        Gaussian at the centre, noise. Pastes: a random paste, shuffled, mean map, centre prior.

    Example:
        >>> list(controls_of({"augment": {"op": "paste"}}))
        ['random paste', 'shuffled', 'mean map', 'centre prior']
    """
    augment: Recipe = recipe["augment"]
    blind = _without(augment, SIGNAL)
    changes = {
        "shuffled": augment | {"control": "shuffled"},
        "same size": augment | {"control": "same_size"},
        "mean map": augment | {"control": "mean_map"},
        "centre prior": blind | {"control": "centre"},
        "noise": blind | {"control": "noise"},
    }
    if augment["op"] == "paste":  # boxes of one size: moved elsewhere or chosen by noise, they are random pastes
        changes = {"random paste": _without(augment, SELECTION) | {"selective": False}} | changes
        changes = _without(changes, ("same size", "noise"))
    elif augment["op"] in CLIPPED and augment.get("match", DEFAULTS.match) == "any":
        matched = augment | {"match": "area"}
        changes = {
            "area-matched": matched,
            "area-matched, shuffled": matched | {"control": "shuffled"},
            "area-matched, centre prior": blind | {"match": "area", "control": "centre"},
        } | changes
    return {name: {**recipe, "augment": change} for name, change in changes.items()}


def _without(mapping: Mapping[str, Any], names: tuple[str, ...]) -> Recipe:
    return {key: value for key, value in mapping.items() if key not in names}


def _comparable(recipe: Mapping[str, Any]) -> Recipe:
    augment = recipe.get("augment", {})
    rest = _without(recipe, ("augment",))
    return rest if augment.get("op", "none") == "none" else rest | {"augment": augment}
