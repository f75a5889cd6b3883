"""An auxiliary classifier after the first stage: cheap saliency for any network.

Shape legend: B images, K classes, D features.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from keepcore.borrow import borrowed, unwrap
from keepcore.saliency import LogitsFn

HeadFn = Callable[[nn.Module], LogitsFn]
FIRST_STAGES = ("layer1", "stages.0", "stages_0", "block1", "stage1", "layers.0", "blocks.0", "features.0")


class _StageReached(Exception):
    """Ends a forward pass after the stage whose output is wanted."""


class EarlyHead(nn.Module):
    """A network with an auxiliary classifier after its first stage.

    Training: ``forward`` returns (logits_BK, early_logits_BK). Evaluation: logits_BK alone. ``model`` is the
    network itself, unchanged: save, export and evaluate that.

    Args:
        model: any network whose forward passes through a module named ``after``.
        num_classes: K.
        after: name of the first stage, as in ``model.named_modules()``; None: the first of layer1, stages.0,
            block1, blocks.0 and the like that exists.
        activation: applied before pooling, e.g. BN + ReLU of a pre-activation network.
        image_size: side of the image that is used to determine the number of features, pixels.

    Raises:
        ValueError: no such module, or its output is not a feature map.

    Example:
        >>> net = nn.Sequential()
        >>> net.layer1, net.fc = nn.Conv2d(3, 4, 1), nn.Sequential(nn.Flatten(), nn.Linear(4 * 64, 10))
        >>> twin = EarlyHead(net, 10, image_size=8)
        >>> [logits.shape for logits in twin(torch.rand(2, 3, 8, 8))]
        [torch.Size([2, 10]), torch.Size([2, 10])]
        >>> twin.eval()(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 10])

    Source: Gong et al., CVPR 2021, Sec. 3.1 and 4 (average pooling and linear head, coefficient 0.3).
    Differs from the paper: "after the first block" is read as after the first stage, which fits its times.
    """

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        after: str | None = None,
        *,
        activation: nn.Module | None = None,
        image_size: int = 64,
    ) -> None:
        super().__init__()
        self.model = model
        self.after = _find_stage(model, after)
        self.activation = nn.Identity() if activation is None else activation
        self.fc = nn.Linear(self._features(image_size), num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return logits in evaluation mode, (logits, early logits) in training mode."""
        if not self.training:
            plain: Tensor = self.model(images_BCHW)
            return plain
        logits, stage = self._run(images_BCHW, stop=False)
        assert logits is not None
        return logits, self._classify(stage)

    def early_logits(self, images_BCHW: Tensor) -> Tensor:
        """Run the network up to the first stage only and classify its features: logits_BK."""
        return self._classify(self._run(images_BCHW, stop=True)[1])

    def _classify(self, stage: Tensor) -> Tensor:
        logits: Tensor = self.fc(_pool(self.activation(stage)))
        return logits

    def _run(self, images_BCHW: Tensor, stop: bool) -> tuple[Tensor | None, Tensor]:
        reached: list[Tensor] = []

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            reached.append(output)
            if stop:
                raise _StageReached

        handle = self.model.get_submodule(self.after).register_forward_hook(hook)
        logits = None
        try:
            logits = self.model(images_BCHW)
        except _StageReached:
            pass
        finally:
            handle.remove()
        if not reached:
            raise ValueError(f"the forward pass never reached the stage {self.after!r}")
        return logits, reached[0]

    def _features(self, image_size: int) -> int:
        probe = next(self.model.parameters())
        images = torch.zeros(1, 3, image_size, image_size, device=probe.device, dtype=probe.dtype)
        with torch.no_grad(), borrowed(self.model):
            return _pool(self._run(images, stop=True)[1]).shape[1]


def full_logits(model: nn.Module) -> LogitsFn:
    """Compute saliency through the whole network.

    Args:
        model: the borrowed, unwrapped network.

    Returns:
        The network's own forward.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> full_logits(net) is net
        True

    Source: Gong et al., CVPR 2021, Sec. 3.
    """
    return model


def early_logits(model: nn.Module) -> LogitsFn:
    """Compute saliency through the early head only.

    Args:
        model: the borrowed, unwrapped :class:`EarlyHead`.

    Returns:
        Its ``early_logits``.

    Raises:
        ValueError: the model has no early head.

    Example:
        >>> early_logits(nn.Linear(1, 1))
        Traceback (most recent call last):
        ValueError: the early head was asked for, but Linear has none: wrap the model in keepcore.EarlyHead

    Source: Gong et al., CVPR 2021, Sec. 3.1.
    """
    early = getattr(model, "early_logits", None)
    if early is None:
        name = type(model).__name__
        raise ValueError(
            f"the early head was asked for, but {name} has none: wrap the model in keepcore.EarlyHead"
        )
    logits_fn: LogitsFn = early
    return logits_fn


def without_early_head(model: nn.Module) -> nn.Module:
    """Return the network to evaluate, save and export.

    Args:
        model: any module, with an early head or without.

    Returns:
        The network without wrappers and without its early head.

    Example:
        >>> net = nn.Linear(1, 1)
        >>> without_early_head(net) is net
        True

    Source: Gong et al., CVPR 2021, Sec. 3.1 (the head serves the saliency maps only).
    """
    inner = unwrap(model)
    return inner.model if isinstance(inner, EarlyHead) else inner


def _find_stage(model: nn.Module, after: str | None) -> str:
    names = {name for name, _ in model.named_modules() if name}
    if after is not None and after not in names:
        tops = ", ".join(name for name, _ in model.named_children())
        raise ValueError(f"no module named {after!r} in {type(model).__name__}; its top level has: {tops}")
    found = next((name for name in FIRST_STAGES if name in names), None) if after is None else after
    if found is None:
        tops = ", ".join(name for name, _ in model.named_children())
        raise ValueError(f"cannot tell the first stage of {type(model).__name__}: pass after=, one of: {tops}")
    return found


def _pool(features: Tensor) -> Tensor:
    """Average over positions: B x D x H x W (convolutional) or B x N x D (tokens) -> B x D."""
    if not isinstance(features, Tensor) or features.ndim not in (3, 4):
        raise ValueError("the stage's output is not a feature map: name another stage with after=")
    return features.mean((2, 3)) if features.ndim == 4 else features.mean(1)


def with_early_head(model: nn.Module, num_classes: int, after: str, image_size: int) -> EarlyHead:
    """Attach an early head; if the stages of a network end without an activation, the head applies it.

    Args:
        model: the network; its method ``early_activation``, if any, returns the activation that its
            first stage lacks.
        num_classes: K.
        after: name of the module whose output the head classifies; "" is the first stage.
        image_size: side of the training images, pixels.

    Source: Gong et al., CVPR 2021, Sec. 3.1.
    """
    make: Callable[[], nn.Module] | None = None if after else getattr(model, "early_activation", None)
    activation = make() if make else None
    return EarlyHead(model, num_classes, after or None, activation=activation, image_size=image_size)
