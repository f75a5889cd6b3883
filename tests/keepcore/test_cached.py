import math

import pytest
import torch

from keepcore import KeepCutout, MapCache
from keepcore.cached import due_positions

WHOLE = torch.tensor([[1.0, 0.0, 1.0, 0.0]])


def blob(height, width, y, x, spread=0.15):
    """A smooth map with its peak at (y, x), both in [0, 1]."""
    rows = (torch.arange(height) + 0.5) / height - y
    columns = (torch.arange(width) + 0.5) / width - x
    return (-(rows[:, None] ** 2 + columns[None] ** 2) / (2 * spread**2)).exp() + 0.05


def peak(map_HW):
    """Where a map is largest, in [0, 1]."""
    index = int(map_HW.argmax())
    height, width = map_HW.shape
    return (index // width + 0.5) / height, (index % width + 0.5) / width


def kept(map_HW, window=WHOLE, side=16):
    cache = MapCache(4, side)
    cache.update(torch.tensor([2]), window, torch.tensor([0]), map_HW[None])
    return cache


def test_a_map_comes_back():
    given = blob(32, 32, 0.3, 0.7)
    cache = kept(given)
    got = cache.read(torch.tensor([2]), WHOLE, 32, 32)[0]
    assert torch.corrcoef(torch.stack([given.flatten(), got.flatten()]))[0, 1] > 0.995
    assert got.mean().item() == pytest.approx(1.0, abs=0.05)  # in units of the mean
    assert not cache.read(torch.tensor([0, 1, 3]), WHOLE.expand(3, -1), 32, 32).any()


def test_reading_against_a_loop():
    """Bilinear interpolation between the centres of the kept pixels, zero outside."""
    cache = MapCache(2, 4)
    cache.maps_NSS[1] = torch.randint(1, 256, (4, 4)).to(torch.uint8)
    values = (cache.maps_NSS[1].float() / 64) ** 2
    scale_y, offset_y, scale_x, offset_x = window = (0.5, 0.25, -0.8, 1.1)
    got = cache.read(torch.tensor([1]), torch.tensor([window]), 3, 5)[0]

    def at(y, x):
        return values[y, x].item() if 0 <= y < 4 and 0 <= x < 4 else 0.0

    for row in range(3):
        for column in range(5):
            y = (scale_y * (row + 0.5) / 3 + offset_y) * 4 - 0.5
            x = (scale_x * (column + 0.5) / 5 + offset_x) * 4 - 0.5
            y0, x0 = math.floor(y), math.floor(x)
            expected = sum(
                (1 - abs(y - yy)) * (1 - abs(x - xx)) * at(yy, xx) for yy in (y0, y0 + 1) for xx in (x0, x0 + 1)
            )
            assert got[row, column].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("flip", [False, True])
def test_a_map_follows_its_image_into_another_crop(flip):
    """Written from one crop, read in another: the peak lies at the same point of the image."""
    top, left, size = 0.1, 0.2, 0.6
    window = torch.tensor([[size, top, -size if flip else size, left + size if flip else left]])
    y, x = 0.45, 0.5  # in the image
    in_crop = ((y - top) / size, (left + size - x) / size if flip else (x - left) / size)
    cache = kept(blob(48, 48, *in_crop), window)
    assert peak(cache.read(torch.tensor([2]), WHOLE, 64, 64)[0]) == pytest.approx((y, x), abs=0.05)
    assert peak(cache.read(torch.tensor([2]), window, 48, 48)[0]) == pytest.approx(in_crop, abs=0.05)


def test_what_lies_outside_the_crop_stays():
    cache = kept(blob(32, 32, 0.25, 0.25))
    before = cache.maps_NSS[2].clone()
    right_half = torch.tensor([[1.0, 0.0, 0.5, 0.5]])
    cache.update(torch.tensor([2]), right_half, torch.tensor([0]), blob(32, 32, 0.5, 0.5)[None])
    assert torch.equal(cache.maps_NSS[2, :, :8], before[:, :8])
    assert not torch.equal(cache.maps_NSS[2, :, 8:], before[:, 8:])


@pytest.mark.parametrize("useless", [0.0, math.nan, math.inf])
def test_a_useless_map_changes_nothing(useless):
    cache = kept(blob(8, 8, 0.5, 0.5))
    before = cache.maps_NSS.clone()
    cache.update(torch.tensor([2]), WHOLE, torch.tensor([0]), torch.full((1, 8, 8), useless))
    assert torch.equal(cache.maps_NSS, before)


def test_only_the_due_images_change():
    cache = MapCache(6, 4)
    index, due = torch.tensor([5, 0, 3]), torch.tensor([0, 2])
    cache.update(index, WHOLE.expand(3, -1), due, torch.rand(2, 8, 8) + 0.1)
    assert cache.maps_NSS.flatten(1).any(1).tolist() == [False, False, False, True, False, True]
    before = cache.maps_NSS.clone()
    cache.update(index, WHOLE.expand(3, -1), torch.tensor([], dtype=torch.int64), torch.zeros(0))
    assert torch.equal(cache.maps_NSS, before)


def test_every_image_is_due_once_in_every_so_many_epochs():
    index = torch.randperm(1000)
    assert due_positions(index, 0, 7).tolist() == list(range(1000))
    for first in (1, 30):
        rounds = [set(index[due_positions(index, epoch, 7)].tolist()) for epoch in range(first, first + 7)]
        assert sum(len(part) for part in rounds) == 1000
        assert set().union(*rounds) == set(range(1000))
        assert max(map(len, rounds)) - min(map(len, rounds)) <= 1
    assert due_positions(index, 3, 1).tolist() == list(range(1000))


def test_mistakes():
    with pytest.raises(ValueError, match="must be positive, got 0"):
        MapCache(0)
    with pytest.raises(ValueError, match="every must be positive"):
        due_positions(torch.tensor([1]), 1, 0)


def test_an_operation_uses_given_maps_and_runs_no_network():
    maps = torch.stack([blob(32, 32, 0.2, 0.2), blob(32, 32, 0.8, 0.8)])

    def network(images):
        raise AssertionError

    keep = KeepCutout(12, quantile=0.3, border="inside")
    kept = keep(network, torch.rand(2, 3, 32, 32), map_BHW=maps, generator=torch.Generator().manual_seed(0))
    expected = keep(
        lambda x: (x * maps[:, None]).sum((2, 3)),
        torch.ones(2, 3, 32, 32),
        torch.tensor([0, 0]),
        generator=torch.Generator().manual_seed(0),
    )
    assert torch.equal(kept.boxes_B4, expected.boxes_B4)
    assert kept.share_B.max() < 0.2
    with pytest.raises(ValueError, match=r"map must have the shape \(2, 32, 32\), got \(2, 16, 16\)"):
        keep(network, torch.rand(2, 3, 32, 32), map_BHW=maps[:, ::2, ::2])
