import pytest
import torch
from torchvision.transforms import v2

from keepcore import TwoViews


@pytest.mark.parametrize("order", ["after_crop", "before_crop"])
def test_views_show_the_same_pixels(order):
    image = v2.ToPILImage()((torch.arange(20 * 20 * 3) % 251).to(torch.uint8).reshape(3, 20, 20))
    shared = v2.Compose([v2.RandomCrop(16, padding=4), v2.RandomHorizontalFlip()])
    views = TwoViews(shared=shared, policy=v2.RandomSolarize(256, p=1), finish=v2.PILToTensor(), order=order)
    identical = TwoViews(shared=shared, policy=v2.RandomInvert(1.0), finish=v2.PILToTensor(), order=order)
    distinct = set()
    for _ in range(20):
        clean, augmented = views(image)
        assert clean.dtype == torch.uint8
        assert torch.equal(clean, augmented)  # solarize at 256 changes nothing: crop and flip were shared
        clean, augmented = identical(image)
        inside = clean + augmented == 255
        assert inside.float().mean() > 0.4  # padding stays black in one order
        distinct.add(clean.sum().item())
    assert len(distinct) > 5


def test_unknown_order():
    with pytest.raises(ValueError, match="order"):
        TwoViews(shared=abs, policy=abs, order="first")
