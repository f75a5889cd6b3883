"""Fixtures for all tests."""

import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(7)


class TinyNet(nn.Module):
    """Convolution, BatchNorm, Dropout and a linear head: everything that has a training mode."""

    def __init__(self, num_classes=5):
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.drop = nn.Dropout(0.5)
        self.layer2 = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        x = torch.relu(self.layer2(self.drop(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


@pytest.fixture
def tiny_net():
    net = TinyNet()
    with torch.no_grad():
        net.layer1[1].running_mean.uniform_(-0.1, 0.1)
        net.layer1[1].running_var.uniform_(0.5, 1.5)
    return net.train()


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The demo set at a tenth of its size."""
    from imagesets.demo.make import ensure

    return ensure(tmp_path_factory.mktemp("demo") / "data", small=True)


@pytest.fixture(scope="session")
def class_folders(demo, tmp_path_factory):
    """An ImageFolder of 10 classes with 4 + 2 images each."""
    from tests.fake_data import class_folders

    return class_folders(demo, tmp_path_factory.mktemp("folder"))
