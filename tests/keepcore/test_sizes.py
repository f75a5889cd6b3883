import pytest
import torch
from scipy import stats

from keepcore.sizes import cutmix_size, erasing_size, fixed, symmetric_beta


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, 2.0, 5.0])
def test_symmetric_beta_follows_beta(alpha, generator):
    draws = symmetric_beta(alpha, 20_000, generator)
    assert stats.kstest(draws.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


def test_fixed():
    draw = lambda length: fixed(length)(4, 30, 50, torch.Generator()).tolist()  # noqa: E731
    assert draw(16) == [[16, 16]]
    assert draw((3, 5)) == [[3, 5]]
    assert draw(0.5) == [[15, 25]]
    for bad in (0, -3, 1.5, 0.0, (0, 3)):
        with pytest.raises(ValueError, match="length"):
            fixed(bad)


def test_cutmix_size_is_even_and_shared_or_not(generator):
    assert cutmix_size()(4, 32, 64, generator).shape == (1, 2)
    sizes = cutmix_size(per="image")(5000, 32, 64, generator)
    assert sizes.shape == (5000, 2)
    assert (sizes % 2 == 0).all()
    share = (sizes[:, 0] * sizes[:, 1]).double().mean() / (32 * 64)
    assert 0.40 < share < 0.5  # E[1 - lambda] = 0.5, less the rounding down of both sides
    for bad in ({"alpha": 0.0}, {"per": "pixel"}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            cutmix_size(**bad)


def test_erasing_size_keeps_its_ranges(generator):
    height, width = 256, 128
    sizes = erasing_size((0.02, 0.4), (0.3, 3.33), log_aspect=False, tries=100)(20_000, height, width, generator)
    area = (sizes[:, 0] * sizes[:, 1]).double() / (height * width)
    assert sizes.min() > 0
    assert (sizes[:, 0] < height).all()
    assert (sizes[:, 1] < width).all()
    assert 0.018 < area.min() < area.max() < 0.41
    assert area.mean().item() == pytest.approx(
        0.204, abs=0.004
    )  # the strong baseline's own draw, facts of its code
    assert (sizes[:, 0] / sizes[:, 1]).median().item() == pytest.approx(1.9, abs=0.1)


def test_erasing_size_gives_up_with_an_empty_box(generator):
    assert erasing_size((0.9, 1.0), (9.0, 9.0), tries=3)(5, 16, 16, generator).tolist() == [[0, 0]] * 5
    for bad in ({"area": (0.0, 0.4)}, {"area": (0.5, 0.4)}, {"aspect": (0.0, 1.0)}, {"tries": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            erasing_size(**bad)
