"""A trained re-identification network, rebuilt from its checkpoint alone."""

from dataclasses import replace
from typing import Any

import networks.load_run
from networks.load_run import Trained
from reid.config import Config, Data
from reid.model import ReidModel, build_model

TrainedReid = Trained[Config, ReidModel]


def load_trained(checkpoint_or_run: str) -> TrainedReid:
    """Rebuild a network, with the averaged weights if there are any.

    Args:
        checkpoint_or_run: .pth of reid.train, or its run folder (uses last.pth).

    Raises:
        UserError: the file was not written by reid.train, or it is damaged.
    """
    return networks.load_run.load_trained(
        checkpoint_or_run, "reid.train", Config, _build, epoch=int, input=str, state_dict=dict
    )


def _build(content: dict[str, Any], config: Config) -> ReidModel:
    config = replace(config, model=replace(config.model, weights=""))
    return build_model(config, content["num_classes"])


def data_options(
    trained: TrainedReid, *, root: str = "", dataset: str = "", batch_size: int = 128, workers: int = 2
) -> Data:
    """Return the data options of the training, optionally with another data set.

    Args:
        trained: the network.
        root: folder of the data set; "" uses the one from training.
        dataset: name of the data set; "" uses the one from training.
        batch_size: number of images per batch.
        workers: number of data-loading processes.
    """
    own = trained.config.data
    root = root or ("" if dataset and dataset != own.dataset else own.root)
    return replace(own, root=root, dataset=dataset or own.dataset, eval_batch_size=batch_size, workers=workers)
