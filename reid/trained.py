"""A trained re-identification network, rebuilt from its checkpoint alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine import checkpoint
from engine.command import from_yaml
from engine.errors import UserError
from reid.config import Config, Data
from reid.model import ReidModel, build_model


@dataclass(frozen=True)
class Trained:
    """A network and where it comes from.

    Attributes:
        path: the file.
        content: of the file.
        config: of the training.
        model: with the weights (averaged ones where there are any), on the CPU, in evaluation mode.
    """

    path: Path
    content: dict[str, Any]
    config: Config
    model: ReidModel

    def data(self, *, root: str = "", dataset: str = "", batch_size: int = 128, workers: int = 2) -> Data:
        """Give the data options of the training, with another data set where one is named."""
        own = self.config.data
        root = root or ("" if dataset and dataset != own.dataset else own.root)
        return replace(own, root=root, dataset=dataset or own.dataset, eval_batch_size=batch_size, workers=workers)


def load_trained(checkpoint_or_run: str) -> Trained:
    """Rebuild a network.

    Args:
        checkpoint_or_run: a .pth of reid.train, or its run folder (then last.pth).

    Raises:
        UserError: the file is no checkpoint of reid.train.
    """
    path = checkpoint.newest(checkpoint_or_run)
    content = checkpoint.load(path)
    kinds = {"config": str, "arch": str, "num_classes": int, "epoch": int, "input": str, "state_dict": dict}
    checkpoint.expect(content, path, "reid.train", **kinds)
    if "identities" not in content["config"] or content["num_classes"] < 1:
        raise UserError(f"{path} was not written by reid.train: it is of another program")
    config = from_yaml(Config, content["config"])
    config = replace(config, model=replace(config.model, weights=""))
    model = build_model(config, content["num_classes"])
    checkpoint.load_weights(model, content.get("state_dict_ema", content["state_dict"]), path)
    return Trained(path, content, config, model.eval())
