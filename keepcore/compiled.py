"""Saliency through torch.compile: the forward pass and the input gradient are compiled as a separate graph."""

from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.func import functional_call

from keepcore.saliency import LogitsFn

_COMPILED: WeakKeyDictionary[nn.Module, LogitsFn] = WeakKeyDictionary()


def compiled_logits(model: nn.Module) -> LogitsFn:
    """Compute saliency through the whole network, compiled separately from the training step.

    The parameters are passed in detached; otherwise the compiled backward graph would compute their gradients too.

    Args:
        model: the borrowed, unwrapped network.

    Returns:
        images_BCHW -> logits_BK; compiled at the first call and cached for this model.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> compiled_logits(net) is compiled_logits(net)
        True

    Source: torch.compile; the paper's code is not published.
    """
    if model not in _COMPILED:
        _COMPILED[model] = _compile(model)
    return _COMPILED[model]


def _compile(model: nn.Module) -> LogitsFn:
    reference = ref(model)

    def forward(state: dict[str, Tensor], images_BCHW: Tensor) -> Tensor:
        network = reference()
        assert network is not None
        logits: Tensor = functional_call(network, state, (images_BCHW,))
        return logits

    compiled = torch.compile(forward)

    def logits_fn(images_BCHW: Tensor) -> Tensor:
        network = reference()
        assert network is not None
        state = {name: value.detach() for name, value in network.named_parameters()}
        logits: Tensor = compiled(state, images_BCHW)
        return logits

    return logits_fn
