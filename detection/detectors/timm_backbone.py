"""Uses any timm network with ``features_only`` as a backbone in a LazyConfig, without conversion.

For networks that tools/convert_to_d2.py rejects: deep stems, attention, ConvNeXt, RegNet, EfficientNet. See
``configs/lazy/faster_rcnn_timm_FPN_3x.py``.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from detection.checkpoints.write import pixels
from engine.errors import UserError
from networks.weights import load

NORMS = ("FrozenBN", "BN")
_log = logging.getLogger(__name__)


class TimmBackbone(Backbone):
    """A timm network that returns its stages as ``res2`` to ``res5`` (strides 4 to 32).

    Args:
        name: name of the timm model.
        checkpoint: file of pretrain.train or timm; "" starts from timm's weights (``pretrained``) or random ones.
        pretrained: use timm's own weights.
        use: weights of the checkpoint: auto (averaged weights if there are any), ema or raw.
        freeze_at: last frozen stage, as in Detectron2: 0 none, 1 everything before ``res2``, 2 ``res2`` too, ...
        norm: FrozenBN, or BN, which is trained except in frozen stages.
        out_features: names of the stages to return; None returns all except ``res1``.
        pixel_mean: mean of the detector, compared with that of the weights; None skips the comparison.
        pixel_std: standard deviation of the detector, likewise.
        options: further arguments of ``timm.create_model``.

    Raises:
        UserError: the weights do not fill the network, or have a different normalisation.
        ValueError: the norm is unknown, or the network lacks a stage.

    Source: detectron2/modeling/backbone/resnet.py (names, freezing); timm's feature extraction.
    """

    def __init__(
        self,
        name: str,
        *,
        checkpoint: str = "",
        pretrained: bool = False,
        use: str = "auto",
        freeze_at: int = 2,
        norm: str = "FrozenBN",
        out_features: Sequence[str] | None = None,
        pixel_mean: Sequence[float] | None = None,
        pixel_std: Sequence[float] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
        net = timm.create_model(name, pretrained=pretrained, features_only=True, **dict(options or {}))
        mean, std = net.pretrained_cfg["mean"], net.pretrained_cfg["std"]
        if checkpoint:
            loaded = load(Path(checkpoint), use, any_options=True)
            if loaded.arch and loaded.arch != name.split(".")[0]:
                raise UserError(f"{checkpoint} holds a {loaded.arch}, not a {name}: correct the name")
            if not loaded.arch:
                _log.warning("%s does not name its architecture: %s is assumed", checkpoint, name)
            fill(net, loaded.state, checkpoint)
            mean, std = loaded.mean, loaded.std
        _compare("pixel_mean", pixel_mean, mean)
        _compare("pixel_std", pixel_std, std)
        strides = net.feature_info.reduction()
        self._place = {_stage(stride): index for index, stride in enumerate(strides)}  # the last of each stride
        self._out_features = list(out_features or (stage for stage in self._place if stage != "res1"))
        unknown = [stage for stage in self._out_features if stage not in self._place]
        if unknown:
            raise ValueError(f"{name} has no {unknown[0]}, only {', '.join(self._place)} (strides {strides})")
        self._out_feature_strides = {stage: strides[i] for stage, i in self._place.items()}
        self._out_feature_channels = {stage: net.feature_info.channels()[i] for stage, i in self._place.items()}
        self._channels_last = str(getattr(net, "output_fmt", "NCHW")).endswith("NHWC")
        _freeze(net, freeze_at, self._place)
        self.net = freeze_batch_norm_2d(net) if norm == "FrozenBN" else _freeze_norms(net)

    @property
    def size_divisibility(self) -> int:
        """Largest stride; images are padded to multiples of it."""
        return max(self._out_feature_strides.values())

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Return channels and stride of every returned stage."""
        return {
            name: ShapeSpec(channels=self._out_feature_channels[name], stride=self._out_feature_strides[name])
            for name in self._out_features
        }

    def forward(self, images_BCHW: Tensor) -> dict[str, Tensor]:
        """Return stage name -> features B x C x H/stride x W/stride."""
        features = self.net(images_BCHW)
        if self._channels_last:
            features = [stage.permute(0, 3, 1, 2).contiguous() for stage in features]
        return {name: features[self._place[name]] for name in self._out_features}


def fill(net: Any, state: Mapping[str, Tensor], origin: str) -> None:
    """Load the weights of a whole network into its feature extractor; every tensor must be filled.

    Args:
        net: network from ``timm.create_model(features_only=True)``, which is modified.
        state: weights of the whole network; those after the last stage are ignored.
        origin: name of the file, for the message.

    Raises:
        UserError: a tensor is missing, of the wrong shape, or in the stages but unused.

    Source: timm's feature extractors, which rename ``stages.0`` to ``stages_0``.
    """
    tensors = {_flat(name): tensor for name, tensor in state.items()}
    own = net.state_dict()
    names = {name: _flat(name).removeprefix("model_") for name in own}
    missing = [
        name for name, flat in names.items() if flat not in tensors and not flat.endswith("num_batches_tracked")
    ]
    if missing:
        raise UserError(
            f"{origin} does not fill the network: {len(missing)} of {len(own)} tensors missing, e.g. {missing[0]}"
        )
    stages = tuple(_flat(stage) + "_" for stage in net.feature_info.module_name())
    extra = sorted(flat for flat in tensors.keys() - set(names.values()) if flat.startswith(stages))
    if extra:
        raise UserError(
            f"{origin} belongs to a larger network: {len(extra)} tensors of its stages unused, e.g. {extra[0]}"
        )
    shapes = [name for name, flat in names.items() if flat in tensors and tensors[flat].shape != own[name].shape]
    if shapes:
        raise UserError(
            f"{origin} belongs to another network: {len(shapes)} tensors differ in shape, e.g. {shapes[0]}"
        )
    with torch.no_grad():
        for name, flat in names.items():
            if flat in tensors:
                own[name].copy_(tensors[flat])


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _stage(stride: int) -> str:
    return f"res{stride.bit_length() - 1}"


def _compare(name: str, ours: Sequence[float] | None, theirs: Sequence[float]) -> None:
    if ours is not None and max(abs(a - b) for a, b in zip(ours, pixels(theirs), strict=True)) > 0.01:
        raise UserError(f"{name} is {list(ours)}, but the backbone's weights need {pixels(theirs)}")


def _freeze(net: Any, freeze_at: int, place: Mapping[str, int]) -> None:
    """Freeze the parameters up to a stage, in the order of the network."""
    if freeze_at <= 0:
        return
    modules = [_flat(stage) + "_" for stage in net.feature_info.module_name()]
    names = [_flat(name).removeprefix("model_") for name, _ in net.named_parameters()]
    spans = {
        stage: [i for i, name in enumerate(names) if name.startswith(modules[at])] for stage, at in place.items()
    }
    frozen, free = f"res{freeze_at}", f"res{freeze_at + 1}"
    ends = [max(spans[frozen], default=-1) + 1] if frozen in spans and freeze_at > 1 else []
    starts = [min(spans[free], default=0)] if free in spans else [len(names)]
    end = (ends or starts)[0]
    if (freeze_at > 1 and not ends) or not 0 < end <= starts[0]:
        raise ValueError(
            f"freeze_at {freeze_at}: the end of {frozen} cannot be determined from the parameter names (the "
            f"features come from {', '.join(net.feature_info.module_name())}): use freeze_at 0"
        )
    for parameter in list(net.parameters())[:end]:
        parameter.requires_grad_(False)


def _freeze_norms(module: nn.Module) -> nn.Module:
    """Freeze the BatchNorms whose parameters are frozen, as Detectron2 does in a frozen stage."""
    for parent, name, norm in list(_norms(module)):
        if not norm.weight.requires_grad:
            setattr(parent, name, freeze_batch_norm_2d(norm))
    return module


def _norms(module: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    for parent in module.modules():
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                yield parent, name, child
