import pytest
import torch

from keepcore.compose import composite, constant, image_mean, noise
from tests.references import composite as slow_composite


def test_composite_equals_the_loop_and_writes_nothing():
    a, b = torch.randn(3, 3, 7, 5), torch.randn(3, 3, 7, 5)
    boxes = torch.tensor([[0, 0, 7, 5], [2, 1, 5, 4], [3, 3, 3, 3]])
    versions = a._version, b._version
    assert torch.equal(composite(a, b, boxes), slow_composite(a, b, boxes))
    assert (a._version, b._version) == versions


def test_fills():
    images, g = torch.rand(4, 3, 8, 8), torch.Generator().manual_seed(1)
    assert constant(0.5)(images, g).unique().tolist() == [0.5]
    colour = constant((0.485, 0.456, 0.406))(images, g)
    assert colour.shape == (1, 3, 1, 1)
    torch.testing.assert_close(image_mean(images, g)[:, :, 0, 0], images.mean((2, 3)))
    pixels = noise(torch.zeros(4, 3, 64, 64), g)
    assert abs(pixels.mean()) < 0.02
    assert abs(pixels.std() - 1) < 0.02
    with pytest.raises(ValueError, match="2 channels"):
        constant((0.0, 1.0))(images, g)
