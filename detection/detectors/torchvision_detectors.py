"""Torchvision's detectors with the same backbones, for use without Detectron2.

    from detection.detectors.torchvision_detectors import faster_rcnn
    model = faster_rcnn("runs/imagenet_resnet50_keepcutmix_lowres")

torchvision's own ``fasterrcnn_resnet50_fpn(weights_backbone=None)`` would train plain BatchNorms with a few images
each and unfreeze every layer; here BatchNorm and the first layers are frozen, as in Detectron2.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from detection.checkpoints.arch import ARCHS
from detection.checkpoints.convert import choose_arch, convert
from engine.errors import UserError
from networks.weights import Loaded, load

NAMES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d")
NAMES += ("resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2")


def faster_rcnn(
    checkpoint: str | Path,
    num_classes: int = 91,
    *,
    freeze_at: int = 2,
    arch: str = "",
    use: str = "auto",
    **options: Any,
) -> FasterRCNN:
    """Build torchvision's Faster R-CNN with FPN on a backbone.

    Args:
        checkpoint: file of pretrain.train, timm or torchvision, or a run folder.
        num_classes: number of classes, including the background.
        freeze_at: frozen part, as in Detectron2: 0 nothing, 1 the stem, 2 the first stage too, ..., 5 everything.
        arch: architecture, if the file does not name it.
        use: weights of the file: auto (averaged weights if there are any), ema or raw.
        options: further arguments of torchvision's ``FasterRCNN``, e.g. ``min_size=800``.

    Returns:
        The detector on the CPU, in training mode. It takes RGB images in [0, 1] and normalises them as in
        the training of the backbone.

    Raises:
        UserError: the file cannot be read, or torchvision does not have its network.

    Source: torchvision/models/detection/faster_rcnn.py (``fasterrcnn_resnet50_fpn``).
    """
    backbone, loaded = _backbone(checkpoint, freeze_at, arch, use)
    return FasterRCNN(backbone, num_classes, image_mean=list(loaded.mean), image_std=list(loaded.std), **options)


def retinanet(
    checkpoint: str | Path,
    num_classes: int = 91,
    *,
    freeze_at: int = 2,
    arch: str = "",
    use: str = "auto",
    **options: Any,
) -> RetinaNet:
    """Build torchvision's RetinaNet on a backbone.

    Args:
        checkpoint: file of pretrain.train, timm or torchvision, or a run folder.
        num_classes: number of classes, including the background.
        freeze_at: as for :func:`faster_rcnn`.
        arch: architecture, if the file does not name it.
        use: weights of the file: auto (averaged weights if there are any), ema or raw.
        options: further arguments of torchvision's ``RetinaNet``.

    Returns:
        The detector, as for :func:`faster_rcnn`.

    Raises:
        UserError: the file cannot be read, or torchvision does not have its network.

    Source: torchvision/models/detection/retinanet.py (``retinanet_resnet50_fpn``).
    """
    # P6 is computed from P5 and there is no P2, as in torchvision's first version
    backbone, loaded = _backbone(checkpoint, freeze_at, arch, use, (2, 3, 4), LastLevelP6P7(256, 256))
    return RetinaNet(backbone, num_classes, image_mean=list(loaded.mean), image_std=list(loaded.std), **options)


def _backbone(
    checkpoint: str | Path,
    freeze_at: int,
    arch: str,
    use: str,
    layers: Sequence[int] = (1, 2, 3, 4),
    extra: Any = None,
) -> tuple[Any, Loaded]:
    if not 0 <= freeze_at <= 5:
        raise ValueError(f"freeze_at must be 0 to 5, got {freeze_at}")
    loaded = load(Path(checkpoint), use)
    name, architecture, _ = choose_arch(loaded.state, loaded.arch, arch)
    if name not in NAMES:
        raise UserError(
            f"{name} is not in torchvision; choose from {', '.join(other for other in ARCHS if other in NAMES)}"
        )
    convert(loaded.state, architecture)  # checks that all tensors are present, finite and of the right shape
    body = resnet_fpn_backbone(
        backbone_name=name,
        weights=None,
        norm_layer=FrozenBatchNorm2d,
        trainable_layers=5 - freeze_at,
        returned_layers=list(layers),
        extra_blocks=extra,
    )
    state = {key: value.float() for key, value in loaded.state.items() if not key.startswith("fc.")}
    body.body.load_state_dict(state, strict=True)
    return body, loaded
