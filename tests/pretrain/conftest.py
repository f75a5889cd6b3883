"""Fixtures for the tests of pretrain."""

import pytest

from pretrain import train


@pytest.fixture(scope="module")
def run(demo, tmp_path_factory):
    """A ResNet-18 trained for three steps on the demo set."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    argv = ["--data.dataset", "demo", "--data.root", str(demo), "--data.batch_size", "8", "--data.workers", "0"]
    argv += ["--device", "cpu", "--model.name", "resnet18", "--epochs", "1", "--max_steps", "3"]
    assert train.main([*argv, "--data.image_size", "32", "--data.crop", "resized", "--output", str(folder)]) == 0
    return folder
