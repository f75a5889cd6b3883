"""A detector built from a config on the CPU and loaded as ``train_net.py`` loads it."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from detection.checkpoints.write import read
from engine.errors import UserError

# Homes of a ResNet's tensors: C4, FPN and RetinaNet, and C4's res5 in the RoI head.
_HOME = re.compile(r"(?:backbone\.(?:bottom_up\.)?|roi_heads\.)((?:stem|res\d)\..*)")


class Detector(NamedTuple):
    """A detector.

    Attributes:
        model: the module, in evaluation mode, on the CPU.
        cfg: CfgNode of a YAML file, DictConfig of a LazyConfig.
        lazy: whether it is the latter.
    """

    model: Any
    cfg: Any
    lazy: bool


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Detectron2's log, which lists every tensor of the untrained heads."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def build(config: Path, options: Sequence[str] = ()) -> Detector:
    """Build the model of a config.

    Args:
        config: YAML file, or LazyConfig .py.
        options: overrides as train_net.py takes them: KEY VALUE ..., or key=value for a LazyConfig.

    Raises:
        UserError: Detectron2 is not installed, no such file, or Detectron2 cannot build it.

    Source: detectron2/config, detectron2/modeling/meta_arch/build.py.
    """
    try:
        from detectron2.config import LazyConfig, get_cfg, instantiate
        from detectron2.modeling import build_model
    except ImportError as error:
        raise UserError(f"this needs Detectron2 ({error}): make install, see the README") from error
    if not config.is_file():
        raise UserError(f"config: {config} not found; python -m detection.rows lists ours")
    lazy = config.suffix == ".py"
    try:
        with quiet():
            if lazy:
                cfg = LazyConfig.apply_overrides(LazyConfig.load(str(config)), list(options))
                return Detector(instantiate(cfg.model).eval(), cfg, lazy)
            cfg = get_cfg()
            cfg.merge_from_file(str(config))
            cfg.merge_from_list(list(options))
            cfg.MODEL.DEVICE = "cpu"
            return Detector(build_model(cfg).eval(), cfg, lazy)
    except UserError:
        raise
    except Exception as error:  # Detectron2 asserts and raises all kinds of errors on a config that does not fit
        reason = " ".join(str(error).split()) or "an assertion failed"
        raise UserError(f"{config}: Detectron2 cannot build it: {type(error).__name__}: {reason}") from error


def load_weights(model: Any, weights: Path) -> None:
    """Load a file into a built detector the way ``train_net.py`` does.

    Args:
        model: the detector; changed.
        weights: .pth or .pkl.

    Raises:
        UserError: Detectron2 cannot read it.

    Source: detectron2/checkpoint/detection_checkpoint.py.
    """
    from detectron2.checkpoint import DetectionCheckpointer

    read(weights)  # a missing or damaged file is told in our words
    with quiet():
        DetectionCheckpointer(model).load(str(weights))


def resnet_tensors(names: Mapping[str, Any]) -> dict[str, str]:
    """Find the ResNet in a detector's state dict.

    Args:
        names: full names.

    Returns:
        Name without prefix (``res2.0.conv1.weight``) -> full name.

    Source: detectron2/modeling: C4 has backbone.*, FPN and RetinaNet backbone.bottom_up.*, C4's res5 roi_heads.*.
    """
    homes = {match[1]: name for name in names if (match := _HOME.fullmatch(name))}
    return {short: name for short, name in homes.items() if not short.endswith("num_batches_tracked")}


def backbone_tensors(weights: Path) -> dict[str, Tensor]:
    """Read a file's tensors; a detector's own checkpoint gives those of its backbone, without prefix.

    Raises:
        UserError: see :func:`detection.checkpoints.write.read`.
    """
    tensors = read(weights)[0]
    homes = resnet_tensors(tensors)
    return {short: tensors[name] for short, name in homes.items()} if homes else tensors


def missing_tensors(model: Any, weights: Path) -> list[str]:
    """List the backbone's tensors that do not carry the file's values.

    Args:
        model: a built and loaded detector; FPN, RetinaNet or C4.
        weights: the converted .pth or .pkl.

    Returns:
        Names without prefix; empty when every tensor was filled.

    Source: detectron2 only warns about unfilled tensors.
    """
    tensors, own = backbone_tensors(weights), model.state_dict()
    return [short for short, name in resnet_tensors(own).items() if not _same(own[name], tensors.get(short))]


def unused_tensors(model: Any, weights: Path) -> list[str]:
    """List the tensors of a converted file that the detector has no place for (the classifier aside).

    Source: detectron2 only warns about them.
    """
    homes = resnet_tensors(model.state_dict())
    return [name for name in backbone_tensors(weights) if name not in homes and not name.startswith("linear.")]


def _same(own: Tensor, other: Tensor | None) -> bool:
    return other is not None and own.shape == other.shape and torch.equal(own.float().cpu(), other.float())
