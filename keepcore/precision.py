"""Autocast belongs to the network: saliency runs in the caller's, everything else in float32."""

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor


def without_autocast(tensor: Tensor) -> torch.autocast:
    """Return a context in which operations on a tensor's device run in the precision of their inputs.

    Args:
        tensor: any tensor on the device.

    Example:
        >>> with torch.autocast("cpu", dtype=torch.bfloat16), without_autocast(torch.ones(1)):
        ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
        torch.float32

    Source: torch.autocast.
    """
    return torch.autocast(tensor.device.type, enabled=False)


def in_callers_autocast(logits_fn: Callable[[Tensor], Tensor], tensor: Tensor) -> Callable[[Tensor], Tensor]:
    """Let a network run in the autocast that is active now, wherever it is called.

    Under float16 it runs in bfloat16, or in float32 where the device has no bfloat16: input gradients of a network
    can exceed the range of float16, and a fixed loss scale cannot prevent that.

    Args:
        logits_fn: images -> logits_BK.
        tensor: any tensor on the device of the images.

    Returns:
        The same function; its logits are float32.

    Source: torch.autocast.
    """
    device_type = tensor.device.type
    enabled, dtype = torch.is_autocast_enabled(device_type), torch.get_autocast_dtype(device_type)
    replaced = enabled and dtype == torch.float16
    if replaced:
        enabled, dtype = _has_bfloat16(device_type), torch.bfloat16

    @wraps(logits_fn, assigned=(), updated=())  # keeps the network visible as __wrapped__
    def logits(images_BCHW: Tensor) -> Tensor:
        # The caller's autocast would reuse weights cached here, so they must have its dtype and carry a gradient.
        caches = enabled and not replaced and torch.is_grad_enabled()
        with torch.autocast(device_type, dtype=dtype, enabled=enabled, cache_enabled=caches):
            output = logits_fn(images_BCHW)
        return output.float() if isinstance(output, Tensor) else output

    return logits


def _has_bfloat16(device_type: str) -> bool:
    if device_type != "cuda":
        return device_type == "cpu"
    return bool(torch.cuda.is_bf16_supported(including_emulation=False))
