"""Averages over an epoch."""

import torch
from torch import Tensor


class Means:
    """Running means on the device, accumulated without waiting for it; NaN entries are not counted."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, Tensor] = {}

    @property
    def names(self) -> list[str]:
        """Names in the order of first appearance."""
        return list(self.sums)

    def add(self, values: dict[str, Tensor]) -> None:
        """Add one step's scalars. A NaN loss is counted, so that it is noticed."""
        for name, value in values.items():
            value = value.detach().float()
            counts = torch.ones_like(value) if name == "loss" else (~value.isnan()).float()
            valid = value if name == "loss" else value.nan_to_num(0.0)
            self.sums[name] = self.sums.get(name, 0.0) + valid
            self.counts[name] = self.counts.get(name, 0.0) + counts

    def state(self) -> dict[str, tuple[float, float]]:
        """Return sums and counts for a checkpoint; waits for the device."""
        return {name: (self.sums[name].item(), self.counts[name].item()) for name in self.sums}

    def restore(self, state: dict[str, tuple[float, float]], device: torch.device) -> None:
        """Restore what :meth:`state` returned."""
        for name, (total, count) in state.items():
            self.sums[name] = torch.tensor(total, device=device)
            self.counts[name] = torch.tensor(count, device=device)

    def tensor(self) -> Tensor:
        """Return all means, in the order of ``names``; NaN if nothing was counted."""
        return torch.stack([self.sums[name] / self.counts[name] for name in self.sums])
