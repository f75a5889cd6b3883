"""Builds a detector from a config on the CPU and loads its weights as ``train_net.py`` does."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from detection.checkpoints.write import read
from engine.errors import UserError, one_line

# Where a ResNet's tensors are: in the backbone of C4, FPN and RetinaNet, and for C4's res5 in the RoI head.
_HOME = re.compile(r"(?:backbone\.(?:bottom_up\.)?|roi_heads\.)((?:stem|res\d)\..*)")


class Detector(NamedTuple):
    """A detector and its config.

    Attributes:
        model: module in evaluation mode, on the CPU.
        cfg: CfgNode of a YAML file, or DictConfig of a LazyConfig.
        lazy: whether the config is a LazyConfig.
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
        config: YAML file or LazyConfig .py.
        options: overrides in the format of train_net.py: KEY VALUE ..., or key=value for a LazyConfig.

    Raises:
        UserError: Detectron2 is not installed, the file is missing, or Detectron2 cannot build the model.

    Source: detectron2/config, detectron2/modeling/meta_arch/build.py.
    """
    try:
        from detectron2.config import LazyConfig, get_cfg, instantiate
        from detectron2.modeling import build_model
    except ImportError as error:
        raise UserError(f"Detectron2 is not installed ({error}): run make install (see the README)") from error
    if not config.is_file():
        raise UserError(f"config: {config} not found; python -m detection.rows lists the built-in ones")
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
    except Exception as error:  # Detectron2 raises many kinds of errors for a config that does not fit
        reason = " ".join(str(error).split()) or "an assertion failed"
        raise UserError(f"Detectron2 cannot build {config}: {type(error).__name__}: {reason}") from error


def local_file(path_or_url: Path | str) -> Path:
    """Return the path of a file; a detectron2://, https:// or other address is downloaded to Detectron2's cache.

    Args:
        path_or_url: path, or an address that Detectron2's PathManager resolves.

    Raises:
        UserError: the address cannot be downloaded.

    Source: detectron2/utils/file_io.py.
    """
    if "://" not in str(path_or_url):
        return Path(path_or_url)
    try:
        from detectron2.utils.file_io import PathManager

        return Path(PathManager.get_local_path(str(path_or_url)))
    except Exception as error:  # whatever the network, the address or the disk raises
        raise UserError(
            f"cannot download {path_or_url}: {one_line(error)}: download it elsewhere and give the file"
        ) from error


def load_weights(model: Any, weights: Path) -> dict[str, Tensor]:
    """Load a file into a detector as ``train_net.py`` does.

    Args:
        model: detector, which is modified.
        weights: .pth or .pkl file.

    Returns:
        The tensors of the file, by their names there.

    Raises:
        UserError: the file is missing or damaged, or is not a Detectron2 file.

    Source: detectron2/checkpoint/detection_checkpoint.py.
    """
    from detectron2.checkpoint import DetectionCheckpointer

    tensors = read(weights)[0]
    with quiet():
        DetectionCheckpointer(model).load(str(weights))
    return tensors


def resnet_tensors(names: Mapping[str, Any]) -> dict[str, str]:
    """Find the ResNet's tensors in a detector's state dict.

    Args:
        names: full names of the detector's tensors.

    Returns:
        Name without prefix (``res2.0.conv1.weight``) -> full name.

    Source: detectron2/modeling: C4 has backbone.*, FPN and RetinaNet backbone.bottom_up.*, C4's res5 roi_heads.*.
    """
    homes = {match[1]: name for name in names if (match := _HOME.fullmatch(name))}
    return {short: name for short, name in homes.items() if not short.endswith("num_batches_tracked")}


def backbone_tensors(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Select the backbone's tensors.

    Args:
        tensors: tensors of a converted file, or of a detector's checkpoint.

    Returns:
        Of a detector's checkpoint, the tensors of its backbone, without prefix; otherwise all tensors.
    """
    homes = resnet_tensors(tensors)
    return {short: tensors[name] for short, name in homes.items()} if homes else tensors


def missing_tensors(model: Any, tensors: dict[str, Tensor]) -> list[str]:
    """List the tensors of a detector's backbone that do not have the values of the file.

    Args:
        model: detector with loaded weights; FPN, RetinaNet or C4.
        tensors: tensors of the file, from :func:`load_weights`.

    Returns:
        Names without prefix; empty if every tensor was filled.

    Source: Detectron2, which only warns about unfilled tensors.
    """
    expected, own = backbone_tensors(tensors), model.state_dict()
    return [short for short, name in resnet_tensors(own).items() if not _same(own[name], expected.get(short))]


def unused_tensors(model: Any, tensors: dict[str, Tensor]) -> list[str]:
    """List the backbone tensors of a file that the detector does not use, except for the classifier.

    Args:
        model: detector.
        tensors: tensors of the file, from :func:`load_weights`.

    Source: Detectron2, which only warns about them.
    """
    homes = resnet_tensors(model.state_dict())
    return [name for name in backbone_tensors(tensors) if name not in homes and not name.startswith("linear.")]


def _same(own: Tensor, other: Tensor | None) -> bool:
    return other is not None and own.shape == other.shape and torch.equal(own.float().cpu(), other.float())
