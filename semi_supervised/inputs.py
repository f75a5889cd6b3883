"""Normalisation of a run: as given, as the weights were trained with, or CIFAR-10's."""

from dataclasses import replace

from networks.metadata import check_pair
from networks.start import inputs_of_weights
from semi_supervised.config import Config

CIFAR10_MEAN, CIFAR10_STD = (0.49139968, 0.48215841, 0.44653091), (0.24703223, 0.24348513, 0.26158784)


def with_inputs(config: Config) -> Config:
    """Fill in the normalisation if the options leave it open.

    Raises:
        UserError: the weights cannot be read, or only one of mean and std is given.

    Source: google-research/uda image/data.py (CIFAR-10's numbers).
    """
    data = config.data
    check_pair(data.mean, data.std)
    if data.mean:
        return config
    mean, std = CIFAR10_MEAN, CIFAR10_STD
    if config.pretrained or config.weights:
        found = inputs_of_weights(config.model, pretrained=config.pretrained, weights=config.weights, field="")
        mean, std = found.mean, found.std  # type: ignore[assignment]
    return replace(config, data=replace(data, mean=mean, std=std))
