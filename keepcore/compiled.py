"""Saliency through torch.compile: the forward pass and the gradient are compiled as graphs of their own."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn
from torch.func import functional_call

_COMPILED: WeakKeyDictionary[nn.Module, "CompiledLogits"] = WeakKeyDictionary()


def compiled_logits(model: nn.Module) -> "CompiledLogits":
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
        _COMPILED[model] = CompiledLogits(model)
    return _COMPILED[model]


class CompiledLogits:
    """A compiled network, images_BCHW -> logits_BK, which can also be asked for a stage's output.

    Args:
        model: the network; only a weak reference is kept.

    Source: torch.compile.
    """

    def __init__(self, model: nn.Module) -> None:
        self.reference = ref(model)
        self.whole = torch.compile(self._forward)
        self.staged: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {}
        self.call: Callable[[Tensor], Tensor] = self._whole

    @property
    def network(self) -> nn.Module:
        """The network."""
        network = self.reference()
        assert network is not None
        return network

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        """Return logits_BK."""
        return self.call(images_BCHW)

    @contextmanager
    def eager(self) -> Iterator[None]:
        """Run the network uncompiled inside the block."""
        self.call = self.network
        try:
            yield
        finally:
            self.call = self._whole

    @contextmanager
    def adding(self, added: Tensor, stage: str) -> Iterator[list[Tensor]]:
        """Add a tensor to the output of a stage inside the block, and collect that output.

        With zeros, the gradient with respect to them is the gradient at the stage. The compiled graph has neither
        gradients of weights nor any below the stage.

        Args:
            added: tensor in the shape of the stage's output.
            stage: name of the module.

        Yields:
            The outputs of the stage, one for each call.
        """
        if stage not in self.staged:
            self.staged[stage] = _compile_stage(self.network, stage)
        outputs: list[Tensor] = []

        def call(images_BCHW: Tensor) -> Tensor:
            logits, output = self.staged[stage](self._state(), images_BCHW, added)
            outputs.append(output)
            return logits

        self.call = call
        try:
            yield outputs
        finally:
            self.call = self._whole

    def _whole(self, images_BCHW: Tensor) -> Tensor:
        logits: Tensor = self.whole(self._state(), images_BCHW)
        return logits

    def _forward(self, state: dict[str, Tensor], images_BCHW: Tensor) -> Tensor:
        logits: Tensor = functional_call(self.network, state, (images_BCHW,))
        return logits

    def _state(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self.network.named_parameters()}


class _Slot:
    """What a hook reads and writes; a class of its own, because torch.compile cannot trace a SimpleNamespace."""

    added: Tensor | None = None
    output: Tensor | None = None


def _compile_stage(network: nn.Module, stage: str) -> Callable[..., tuple[Tensor, Tensor]]:
    """Compile (state, images_BCHW, added) -> logits_BK and the output of the stage."""
    reference, slot = ref(network), _Slot()

    def hook(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        slot.output = output
        assert slot.added is not None
        return output + slot.added

    def forward(state: dict[str, Tensor], images_BCHW: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
        inner = reference()
        assert inner is not None
        slot.added = added
        logits: Tensor = functional_call(inner, state, (images_BCHW,))
        assert slot.output is not None
        return logits, slot.output

    compiled = torch.compile(forward)

    def run(state: dict[str, Tensor], images_BCHW: Tensor, added: Tensor) -> tuple[Tensor, Tensor]:
        inner = reference()
        assert inner is not None
        handle = inner.get_submodule(stage).register_forward_hook(hook)
        try:
            logits, output = compiled(state, images_BCHW, added)
            return logits, output
        finally:
            handle.remove()
            slot.added = slot.output = None

    return run
