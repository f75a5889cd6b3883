"""A trained re-identification network, rebuilt from its checkpoint alone."""

from dataclasses import replace
from typing import Any

import networks.trained
from networks.trained import Trained
from reid.config import Config, Data
from reid.model import ReidModel, build_model

TrainedReid = Trained[Config, ReidModel]


def load_trained(checkpoint_or_run: str) -> TrainedReid:
    """Rebuild a network, with the averaged weights where there are any.

    Args:
        checkpoint_or_run: a .pth of reid.train, or its run folder (then last.pth).

    Raises:
        UserError: reid.train did not write the file, or it is damaged.
    """
    return networks.trained.load_trained(
        checkpoint_or_run, "reid.train", Config, _build, epoch=int, input=str, state_dict=dict
    )


def _build(content: dict[str, Any], config: Config) -> ReidModel:
    config = replace(config, model=replace(config.model, weights=""))
    return build_model(config, content["num_classes"])


def data_options(
    trained: TrainedReid, *, root: str = "", dataset: str = "", batch_size: int = 128, workers: int = 2
) -> Data:
    """Give the data options of a training, with another data set where one is named.

    Args:
        trained: the network.
        root: folder of the data; "" takes the one of the training.
        dataset: name of the data set; "" takes the one of the training.
        batch_size: images per batch.
        workers: data-loading processes.
    """
    own = trained.config.data
    root = root or ("" if dataset and dataset != own.dataset else own.root)
    return replace(own, root=root, dataset=dataset or own.dataset, eval_batch_size=batch_size, workers=workers)
