"""What a composer or selector needs from the pipeline, declared on the function itself."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])


def declare(**traits: bool) -> Callable[[F], F]:
    """Declare traits of a composer or selector.

    Args:
        **traits: ``needs_partner=True``: a composer mixes in another image of the batch.
            ``uses_saliency=False``: a selector ignores the scores, so no saliency map is computed for it.

    Returns:
        A decorator that records the traits on the function.

    Example:
        >>> @declare(needs_partner=True)
        ... def blend(layers, boxes): ...
        >>> has_trait(partial(blend, boxes=None), "needs_partner", default=False)
        True
    """

    def record(function: F) -> F:
        function.__dict__["traits"] = traits
        return function

    return record


def has_trait(function: object, name: str, *, default: bool) -> bool:
    """Look up a trait, also behind ``functools.partial`` and ``functools.wraps``.

    Args:
        function: a composer or selector.
        name: name of the trait.
        default: value for a function that does not declare the trait.

    Returns:
        The declared value, or the default.
    """
    while function is not None:
        traits: dict[str, bool] = getattr(function, "traits", {})
        if name in traits:
            return traits[name]
        function = function.func if isinstance(function, partial) else getattr(function, "__wrapped__", None)
    return default
