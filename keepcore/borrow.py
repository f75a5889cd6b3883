"""Use a model for a side computation and restore it exactly."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

BN_MODES = ("eval", "batch_nostats", "train")
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def unwrap(model: nn.Module) -> nn.Module:
    """Return the plain module under DistributedDataParallel, DataParallel and ``torch.compile``.

    A saliency pass has no backward pass over the weights. Through DDP it would leave the reducer waiting,
    and through a compiled module it would also compute weight gradients, which are not needed.

    Args:
        model: any module.

    Returns:
        The innermost wrapped module; ``model`` itself when nothing wraps it.

    Raises:
        ValueError: the model is sharded by FSDP: a part of it cannot be run alone.

    Example:
        >>> inner = nn.Linear(1, 1)
        >>> unwrap(nn.DataParallel(inner)) is inner
        True

    Source: PyTorch issues 139476 (compile) and 24005 (DDP).
    """
    while True:
        if type(model).__name__ in ("FullyShardedDataParallel", "FSDPModule"):
            raise ValueError("saliency needs the whole model, but this one is sharded by FSDP: use DDP")
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = cast(nn.Module, model._orig_mod)
        else:
            return model


@contextmanager
def borrowed(model: nn.Module, bn: str = "eval") -> Iterator[nn.Module]:
    """Prepare a model for gradients with respect to its input; restore everything afterwards.

    Inside the block the model is in evaluation mode (Dropout, ShakeDrop and similar layers are off). After it,
    the ``training`` flag of every single module, all buffers, ``requires_grad``, ``.grad`` and the random
    state of the CPU and of the model's devices are what they were, also after an exception.

    Args:
        model: any module; wrappers of DDP, DataParallel and ``torch.compile`` are removed.
        bn: what BatchNorm does inside the block.
            ``"eval"``: running statistics, so each image's saliency is independent of the batch.
            ``"batch_nostats"``: statistics of the batch, running statistics neither used nor changed (for
            networks whose running statistics lag, e.g. momentum 0.001).
            ``"train"``: the whole model in training mode, Dropout included (for ablations).

    Yields:
        The unwrapped module.

    Raises:
        ValueError: unknown ``bn``, or a model sharded by FSDP.

    Example:
        >>> net = nn.Sequential(nn.Dropout(), nn.BatchNorm2d(3))
        >>> with borrowed(net) as inner:
        ...     inner.training
        False
        >>> net.training
        True

    Source: Simonyan et al., 2014 (saliency of the deployed, i.e. evaluation-mode network).
    Differs from the paper: it does not say which mode its saliency pass uses.
    """
    if bn not in BN_MODES:
        raise ValueError(f"bn must be one of {', '.join(BN_MODES)}, got {bn!r}")
    inner = unwrap(model)
    training = bn == "train"
    changed = [module for module in inner.modules() if module.training != training]
    buffers = _lend_statistics(inner, bn)
    try:
        for module in changed:
            module.training = training
        with torch.random.fork_rng(_cuda_devices(inner)):
            yield inner
    finally:
        for module in changed:
            module.training = not training
        for module, name, value in buffers:
            module._buffers[name] = value


def _lend_statistics(model: nn.Module, bn: str) -> list[tuple[nn.Module, str, Tensor | None]]:
    """Swap BatchNorm's running statistics for throw-away ones; return what must be put back."""
    lent: list[tuple[nn.Module, str, Tensor | None]] = []
    if bn == "eval":
        return lent
    for module in model.modules():
        if not isinstance(module, _BatchNorm):
            continue
        for name in _STATISTICS:
            value = module._buffers.get(name)
            lent.append((module, name, value))
            # Without running statistics an evaluation-mode BatchNorm normalises by the batch.
            keep = bn == "train" and value is not None
            module._buffers[name] = value.clone() if keep and value is not None else None
    return lent


def _cuda_devices(model: nn.Module) -> list[int]:
    indices = {p.device.index for p in model.parameters() if p.device.type == "cuda"}
    return sorted(index for index in indices if index is not None)
