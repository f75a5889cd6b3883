"""Obtain features to evaluate: from an .npz of any toolbox, or by embedding a data set with a network."""

from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from engine.config import TrainingConfig
from engine.errors import UserError
from engine.setup import build_accelerator
from reid.config import Evaluation, Protocol
from reid.dataset_layouts import ReidSet, open_source
from reid.embed import embed_source
from reid.evaluation.features import Features, load_features
from reid.load_run import data_options, load_trained


class Origin(NamedTuple):
    """Features and their origin.

    Attributes:
        features: query and gallery features with labels.
        about: plain values describing the origin.
        source: the data set; None for an .npz.
    """

    features: Features
    about: dict[str, Any]
    source: ReidSet | None


def open_features(options: Evaluation, path: str) -> Origin:
    """Read features from an .npz, or embed a data set with a trained network.

    Args:
        options: options of the command.
        path: .npz, checkpoint or run folder.

    Raises:
        UserError: the file or the data is missing, or the file is not a checkpoint of reid.train.
    """
    if path.endswith(".npz"):
        return Origin(load_features(Path(path)), {"features": path}, None)
    trained = load_trained(path)
    data = data_options(
        trained,
        root=options.root,
        dataset=options.dataset,
        batch_size=options.batch_size,
        workers=options.workers,
    )
    source = open_source(data)
    accelerator = build_accelerator(TrainingConfig(device=options.device))
    features = embed_source(
        trained.model.to(accelerator.device),
        source,
        data,
        accelerator,
        flip=options.flip,
        multi_query=options.multi_query,
    )
    about = {"checkpoint": str(trained.path), "arch": trained.content["arch"], "epoch": trained.content["epoch"]}
    about |= {"dataset": data.dataset, "flip": options.flip, "multi_query": options.multi_query}
    return Origin(features, about, source)


def protocol_of(options: Evaluation) -> Protocol:
    """Extract the protocol's fields from a command's options."""
    return Protocol(**{field.name: getattr(options, field.name) for field in fields(Protocol)})


def require_npz(path: str) -> str:
    """Return the path if it is that of an .npz.

    Raises:
        UserError: the path has another suffix.
    """
    if not path.endswith(".npz"):
        raise UserError(f"features: {path} must be an .npz file (numpy.savez)")
    return path
