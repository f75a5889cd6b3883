"""Random branch weights per image: Shake-Shake and ShakeDrop. Never waits for the device."""

import torch
from torch import Tensor, nn


class ShakeShake(nn.Module):
    """Mixes two branches with a random weight per image, drawn separately for the forward and backward pass.

    In training ``alpha * a + (1 - alpha) * b`` with alpha ~ U(0, 1); gradients flow with an independent
    beta ~ U(0, 1) in alpha's place. In evaluation both are 1/2, forward and backward.

    Source: Gastaldi, 2017; xgastaldi/shake-shake (image level, "SSI").
    """

    def forward(self, a_BCHW: Tensor, b_BCHW: Tensor) -> Tensor:
        """Return the mix, in the branches' shape."""
        if not self.training:
            return 0.5 * a_BCHW + 0.5 * b_BCHW
        alpha_B111, beta_B111 = (_uniform(a_BCHW) for _ in range(2))
        forward = torch.lerp(b_BCHW.detach(), a_BCHW.detach(), alpha_B111)
        return _value_of(forward, torch.lerp(b_BCHW, a_BCHW, beta_B111))


class ShakeDrop(nn.Module):
    """Scales a residual branch at random, per image.

    In training the factor is 1 with probability ``keep``; otherwise alpha ~ U(-1, 1) forward and beta ~ U(0, 1)
    backward. In evaluation it is the forward mean, ``keep``, both ways.

    Args:
        keep: probability that an image is left unchanged, in [0, 1].

    Raises:
        ValueError: keep is out of range.

    Source: Yamada et al., 2018 (per image, as in TensorFlow's AutoAugment code; owruby/shake-drop_pytorch draws
    one gate for the whole batch).
    """

    def __init__(self, keep: float) -> None:
        super().__init__()
        if not 0.0 <= keep <= 1.0:
            raise ValueError(f"keep must be in [0, 1], got {keep}")
        self.keep = keep

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the scaled branch."""
        if not self.training:
            return x_BCHW * self.keep
        kept_B111 = (_uniform(x_BCHW) < self.keep).to(x_BCHW.dtype)
        alpha_B111, beta_B111 = 2.0 * _uniform(x_BCHW) - 1.0, _uniform(x_BCHW)
        forward_B111 = kept_B111 + alpha_B111 * (1.0 - kept_B111)
        backward_B111 = kept_B111 + beta_B111 * (1.0 - kept_B111)
        return _value_of(x_BCHW.detach() * forward_B111, x_BCHW * backward_B111)


def _uniform(like_BCHW: Tensor) -> Tensor:
    return torch.rand(len(like_BCHW), 1, 1, 1, device=like_BCHW.device, dtype=like_BCHW.dtype)


def _value_of(value: Tensor, gradient: Tensor) -> Tensor:
    """Return ``value`` in the forward pass, with the gradient of ``gradient`` in the backward pass."""
    return gradient + (value - gradient.detach())
