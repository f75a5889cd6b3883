"""RandAugment by buckets: images with the same operation are gathered, changed at once, and put back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from keepcore.draws import BatchShard
from keepcore.policy.colour import COLOURS, erase_squares
from keepcore.policy.spaces import SPACES, Op, Space
from keepcore.policy.warp import MATRICES, warp
from keepcore.precision import without_autocast

MEAN_COLOUR = (125, 123, 114)  # fills the area that a geometric operation uncovers


class PolicyDraws(NamedTuple):
    """All randomness of one batch, on the CPU. N operations in a row, B images.

    Attributes:
        op_NB: int64 index into :attr:`RandAugment.names`; the number of names means no operation.
        magnitude_NB: float64, in the operation's unit.
        centre_NB2: float64 in [0, 1), for Cutout.
    """

    op_NB: Tensor
    magnitude_NB: Tensor
    centre_NB2: Tensor


@dataclass(frozen=True)
class RandAugment:
    """N random operations per image, for a whole batch of uint8 images on any device.

    Attributes:
        num_ops: N.
        level: M, on the space's scale.
        space: ``tv31`` (torchvision's operations, 0-30) or ``uda`` (google-research/uda's, 0-10).
        prob: probability that an operation is applied, in [0, 1].
        random_level: draw each operation's level from 1 .. M instead of taking M.
        fill: colour of the area that a geometric operation uncovers, 0-255 per channel.

    Example:
        >>> policy = RandAugment(2, 9)
        >>> images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
        >>> policy(images, generator=torch.Generator().manual_seed(0)).shape
        torch.Size([4, 3, 8, 8])

    Source: Cubuk et al., 2020; torchvision v2 RandAugment (tv31), google-research/uda policies.py (uda).
    Differs from the paper: nothing is published about the batch; the operations equal torchvision's tensor
    kernels (tests/keepcore/test_policy.py).
    """

    num_ops: int = 2
    level: int = 9
    space: str = "tv31"
    prob: float = 1.0
    random_level: bool = False
    fill: Sequence[int] = MEAN_COLOUR

    def __post_init__(self) -> None:
        if self.space not in SPACES:
            raise ValueError(f"space must be one of {', '.join(SPACES)}, got {self.space!r}")
        if self.num_ops < 0:
            raise ValueError(f"num_ops must not be negative, got {self.num_ops}")
        if not int(self.random_level) <= self.level <= self._space.top:
            raise ValueError(
                f"level must be in {int(self.random_level)}-{self._space.top} on the scale {self.space}, "
                f"got {self.level}"
            )
        if len(self.fill) != 3 or not all(0 <= value <= 255 for value in self.fill):
            raise ValueError(f"fill must be 3 values in 0-255, got {self.fill}")
        if self.random_level and self.level != int(self.level):
            raise ValueError(f"level must be a whole number where it is drawn, got {self.level}")
        if not 0.0 <= self.prob <= 1.0:
            raise ValueError(f"prob must be in [0, 1], got {self.prob}")

    @property
    def _space(self) -> Space:
        return SPACES[self.space]

    @property
    def names(self) -> tuple[str, ...]:
        """The operations, geometric ones first: they share one kernel."""
        return tuple(sorted(self._space.ops, key=lambda name: name not in MATRICES))

    def __call__(
        self,
        images_BCHW: Tensor,
        *,
        generator: torch.Generator | None = None,
        share: BatchShard = BatchShard(),  # noqa: B008 - immutable
    ) -> Tensor:
        """Augment one batch.

        Args:
            images_BCHW: uint8, 3 channels; never modified.
            generator: generator on the CPU; None uses torch's global one.
            share: part of the batch that this process holds; all processes have generators in the same state.

        Returns:
            images_BCHW, uint8.

        Raises:
            ValueError: the images are not uint8 B x 3 x H x W.

        Source: as the class.
        """
        if images_BCHW.dtype != torch.uint8 or images_BCHW.ndim != 4 or images_BCHW.shape[1] != 3:
            raise ValueError(
                f"images must be uint8 B x 3 x H x W, got {images_BCHW.dtype} {tuple(images_BCHW.shape)}"
            )
        own = len(images_BCHW)
        if own == 0:
            return images_BCHW.clone()
        draws = self.draw(own * share.processes, *images_BCHW.shape[-2:], generator=generator)
        mine = slice(share.rank * own, (share.rank + 1) * own)
        return self.apply(images_BCHW, PolicyDraws(*(tensor[:, mine] for tensor in draws)))

    def draw(self, batch: int, height: int, width: int, *, generator: torch.Generator | None) -> PolicyDraws:
        """Draw everything random of one batch; the amount drawn depends on N and the batch only."""
        shape, ops = (self.num_ops, batch), [self._space.ops[name] for name in self.names]
        op_NB = torch.randint(len(ops), shape, generator=generator)
        fires_NB = torch.rand(shape, generator=generator) < self.prob
        level_NB = torch.full(shape, self.level, dtype=torch.float64)
        if self.random_level:
            level_NB = torch.randint(1, self.level + 1, shape, generator=generator).double()
        sign_NB = torch.where(torch.rand(shape, generator=generator) < 0.5, -1.0, 1.0).double()
        centre_NB2 = torch.rand(*shape, 2, generator=generator, dtype=torch.float64)
        all_ANB = torch.stack([_magnitude(op, level_NB, sign_NB, height, width) for op in ops])
        magnitude_NB = all_ANB.gather(0, op_NB[None])[0]
        return PolicyDraws(torch.where(fires_NB, op_NB, len(ops)), magnitude_NB, centre_NB2)

    def apply(self, images_BCHW: Tensor, draws: PolicyDraws) -> Tensor:
        """Apply a draw: deterministic, and in full precision under autocast too."""
        with without_autocast(images_BCHW):
            return self._apply(images_BCHW, draws)

    def _apply(self, images_BCHW: Tensor, draws: PolicyDraws) -> Tensor:
        for op_B, magnitude_B, centre_B2 in zip(*draws, strict=True):
            order_B = op_B.argsort(stable=True)
            device = images_BCHW.device
            sorted_BCHW = images_BCHW.index_select(0, order_B.to(device, non_blocking=True))
            counts = op_B.bincount(minlength=len(self.names) + 1).tolist()
            parts = self._parts(sorted_BCHW, magnitude_B[order_B], centre_B2[order_B], counts)
            back_B = order_B.argsort().to(device, non_blocking=True)
            images_BCHW = torch.cat(list(parts)).index_select(0, back_B)
        return images_BCHW

    def _parts(
        self, images_BCHW: Tensor, magnitude_B: Tensor, centre_B2: Tensor, counts: list[int]
    ) -> Iterator[Tensor]:
        """Change images that are sorted by operation, bucket by bucket."""
        height, width = images_BCHW.shape[-2:]
        geometric = sum(name in MATRICES for name in self.names)
        warped = sum(counts[:geometric])
        if warped:
            groups = zip(self.names, torch.split(magnitude_B[:warped], counts[:geometric]), strict=False)
            matrices = [MATRICES[name](part_P, height, width) for name, part_P in groups]
            yield warp(images_BCHW[:warped], torch.cat(matrices), self.fill)
        rest = [
            torch.split(tensor[warped:], counts[geometric:]) for tensor in (images_BCHW, magnitude_B, centre_B2)
        ]
        names = (*self.names[geometric:], "Identity")
        for name, images_PCHW, magnitude_P, centre_P2 in zip(names, *rest, strict=True):
            if len(images_PCHW) and name == "Cutout":
                fill_C11 = torch.tensor(self.fill, dtype=torch.uint8).to(images_PCHW.device)[:, None, None]
                yield erase_squares(images_PCHW, magnitude_P, centre_P2, fill_C11)
            elif len(images_PCHW):
                yield COLOURS[name](images_PCHW, magnitude_P) if name in COLOURS else images_PCHW


def _magnitude(op: Op, level_NB: Tensor, sign_NB: Tensor, height: int, width: int) -> Tensor:
    size_NB = op.at(level_NB, height, width)
    return (size_NB * sign_NB if op.signed else size_NB) + op.around
