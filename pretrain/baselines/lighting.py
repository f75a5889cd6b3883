"""AlexNet's PCA colour noise for each image of a normalised batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

EIGENVALUES_3 = (0.2175, 0.0188, 0.0045)
EIGENVECTORS_33 = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


def lighting_shift(count: int, strength: float, std: Sequence[float], generator: torch.Generator) -> Tensor:
    """Draw the colour shift to add to each normalised image.

    Args:
        count: number of images, B.
        strength: standard deviation of the coefficients; 0.1 in the ImageNet recipes.
        std: the normalisation's standard deviation per channel, for values in [0, 1].
        generator: random generator on the CPU.

    Returns:
        shift_B311, float32, on the CPU.

    Source: Krizhevsky et al., NeurIPS 2012; clovaai/CutMix-PyTorch train.py (constants).
    """
    alphas_B3 = torch.randn(count, 3, generator=generator) * strength
    shift_B3 = (alphas_B3 * torch.tensor(EIGENVALUES_3)) @ torch.tensor(EIGENVECTORS_33).T
    return (shift_B3 / torch.tensor(tuple(std)))[:, :, None, None]
