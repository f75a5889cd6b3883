"""Batched RandAugment against torchvision's kernels, image by image."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from keepcore.draws import BatchShard
from keepcore.policy import SPACES, RandAugment
from keepcore.policy.colour import erase_squares
from keepcore.policy.randaugment import MEAN_COLOUR, PolicyDraws

FILL = list(MEAN_COLOUR)
LEVELS = range(31)


def photos(count, side=(32, 32), seed=0):
    """Smooth random images with flat, dark and bright ones among them."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 5, 5, generator=generator)
    images = torch.nn.functional.interpolate(small, size=side, mode="bicubic") * 255
    images = images + 12 * torch.randn(images.shape, generator=generator)
    images[0], images[1], images[2] = 77, images[1] * 0.2, 200 + images[2] * 0.2
    images[3, 1] = 13
    return images.clamp(0, 255).to(torch.uint8)


def affine(image, **change):
    options = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]} | change
    return F.affine(image, fill=FILL, **options)


def slope(value):
    return math.degrees(math.atan(value))


REFERENCE = {
    "Identity": lambda image, m: image,
    "ShearX": lambda image, m: affine(image, shear=[slope(m), 0.0], center=[0, 0]),
    "ShearY": lambda image, m: affine(image, shear=[0.0, slope(m)], center=[0, 0]),
    "TranslateX": lambda image, m: affine(image, translate=[int(m), 0]),
    "TranslateY": lambda image, m: affine(image, translate=[0, int(m)]),
    "Rotate": lambda image, m: F.rotate(image, m, fill=FILL),
    "Brightness": F.adjust_brightness,
    "Color": F.adjust_saturation,
    "Contrast": F.adjust_contrast,
    "Sharpness": F.adjust_sharpness,
    "Posterize": lambda image, m: F.posterize(image, int(m)),
    "Solarize": lambda image, m: F.solarize(image, min(m, 255.0)),
    "AutoContrast": lambda image, m: F.autocontrast(image),
    "Equalize": lambda image, m: F.equalize(image),
    "Invert": lambda image, m: F.invert(image),
}
# Largest difference of a value and largest share of differing values, over all levels and both signs: 0 for all
# but Contrast where this was written; a processor that rounds a fused multiply-add differently
# truncates some blends to the neighbouring integer, and may take the neighbouring pixel at a tie of a rotation.
LOOSE = {"Color": (1, 3e-2), "Contrast": (1, 5e-3), "Sharpness": (1, 2e-3), "Rotate": (255, 1e-3)}


@pytest.mark.parametrize("side", [(32, 32), (33, 20)])
@pytest.mark.parametrize("name", SPACES["tv31"].ops)
def test_operation_equals_torchvisions(name, side):
    images = photos(24, side)
    policy = RandAugment(1, 0)
    index, worst, differing = policy.names.index(name), 0, 0.0
    for level in LEVELS:
        for sign in (-1.0, 1.0):
            op = SPACES["tv31"].ops[name]
            size = op.at(torch.tensor([float(level)], dtype=torch.float64), *side)
            magnitude = (size * sign if op.signed else size) + op.around
            draws = PolicyDraws(
                torch.full((1, 24), index), magnitude.expand(1, 24), torch.zeros(1, 24, 2, dtype=torch.float64)
            )
            ours = policy.apply(images, draws)
            theirs = torch.stack([REFERENCE[name](image, magnitude.item()) for image in images])
            gap = (ours.int() - theirs.int()).abs()
            worst, differing = max(worst, gap.max().item()), max(differing, (gap > 0).float().mean().item())
    print(name, side, worst, differing)
    value, share = LOOSE.get(name, (0, 0.0))
    assert worst <= value
    assert differing <= share


def test_magnitudes_are_torchvisions():
    """Each name's magnitude at level 9 of 31 bins, read from torchvision's own table."""
    table = v2.RandAugment(2, 9, num_magnitude_bins=31)._AUGMENTATION_SPACE
    assert set(table) == set(SPACES["tv31"].ops)
    for level in (0, 9, 24, 30):
        for name, (magnitudes, signed) in table.items():
            op = SPACES["tv31"].ops[name]
            values = magnitudes(31, 32, 48)
            ours = op.at(torch.tensor(float(level), dtype=torch.float64), 32, 48).item()
            wanted = 0.0 if values is None else float(values[level]) * (255 if name == "Solarize" else 1)
            assert ours == pytest.approx(wanted, rel=1e-5, abs=1e-4), name
            assert op.signed == signed, name


def test_google_levels():
    """google-research/uda image/randaugment/augmentation_transforms.py at levels 1, 5 and 9."""
    wanted = {
        "Cutout": (2, 10, 18),
        "Rotate": (3, 15, 27),
        "Posterize": (4, 2, 1),
        "Solarize": (231, 128, 26),
        "ShearX": (0.03, 0.15, 0.27),
        "TranslateY": (1, 5, 9),
        "Brightness": (0.28, 1.0, 1.72),
    }
    for name, values in wanted.items():
        levels = torch.tensor([1.0, 5.0, 9.0], dtype=torch.float64)
        assert SPACES["uda"].ops[name].at(levels, 32, 32).tolist() == pytest.approx(values), name
    assert len(SPACES["uda"].ops) == 15


def test_batch_equals_image_by_image():
    images = photos(64)
    policy = RandAugment(3, 7, space="uda", prob=0.5, random_level=True)
    draws = policy.draw(64, 32, 32, generator=torch.Generator().manual_seed(1))
    together = policy.apply(images, draws)
    alone = [
        policy.apply(images[i : i + 1], PolicyDraws(*(each[:, i : i + 1] for each in draws))) for i in range(64)
    ]
    assert torch.equal(together, torch.cat(alone))
    assert (together != images).flatten(1).any(1).float().mean() > 0.5


def test_arguments_are_left_alone_and_draws_are_seeded():
    images = photos(32)
    before = images.clone()
    first, second = (RandAugment()(images, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(images, before)
    assert torch.equal(first, second)
    assert not torch.equal(first, RandAugment()(images, generator=torch.Generator().manual_seed(4)))
    assert torch.equal(RandAugment(2, prob=0.0)(images), images)
    assert torch.equal(RandAugment(0)(images), images)


def test_golden_draw():
    draws = RandAugment(2, 9).draw(6, 32, 32, generator=torch.Generator().manual_seed(0))
    assert draws.op_NB.tolist() == [[4, 3, 7, 2, 1, 9], [13, 3, 11, 5, 9, 0]]
    assert draws.magnitude_NB[0].tolist() == pytest.approx([-9.0, 4.350453, 1.27, -4.350453, -0.09, 0.73])


def test_processes_share_a_batch():
    images = photos(12)
    whole = RandAugment()(images, generator=torch.Generator().manual_seed(5))
    parts = [
        RandAugment()(
            images[4 * r : 4 * r + 4], generator=torch.Generator().manual_seed(5), share=BatchShard(r, 3)
        )
        for r in range(3)
    ]
    assert torch.equal(whole, torch.cat(parts))


def test_squares_are_clipped_at_the_border():
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    centre = torch.tensor([[0.0, 0.0], [0.5, 0.5]], dtype=torch.float64)
    fill = torch.tensor(FILL, dtype=torch.uint8)[:, None, None]
    out = erase_squares(images, torch.tensor([4.0, 4.0], dtype=torch.float64), centre, fill)
    assert (out[0, 0] == 125).sum() == 4
    assert (out[1, 2] == 114).sum() == 16
    assert out[1, 2, 2:6, 2:6].eq(114).all()


def test_close_to_pillow():
    """torchvision's Pillow kernels are not its tensor kernels; most values agree."""
    images = photos(16)
    policy = RandAugment(1, 9)
    for index, name in enumerate(policy.names):
        draws = policy.draw(16, 32, 32, generator=torch.Generator().manual_seed(0))
        op = SPACES["tv31"].ops[name]
        magnitude = op.at(torch.tensor(9.0, dtype=torch.float64), 32, 32) + op.around
        ours = policy.apply(
            images, draws._replace(op_NB=torch.full((1, 16), index), magnitude_NB=magnitude.expand(1, 16))
        )
        pillow = [
            np.array(REFERENCE[name](Image.fromarray(i.permute(1, 2, 0).numpy()), magnitude.item()))
            for i in images
        ]
        gap = (ours.int() - torch.from_numpy(np.stack(pillow)).permute(0, 3, 1, 2).int()).abs()
        assert (gap > 2).float().mean() < 0.05, name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": "imagenet"}, "space must be one of tv31, uda, got 'imagenet'"),
        ({"level": 31}, "0-30"),
        ({"level": 0, "random_level": True}, "1-30"),
        ({"num_ops": -1}, "num_ops"),
        ({"prob": 1.5}, "prob"),
        ({"fill": (0,)}, "fill must be 3 values"),
        ({"fill": (-1, 0, 0)}, "fill must be 3 values"),
        ({"level": 5.5, "random_level": True}, "whole number"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(ValueError, match=message):
        RandAugment(**options)


def test_images_must_be_uint8():
    for wrong in (torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="uint8 B x 3"):
            RandAugment()(wrong)
    assert RandAugment()(torch.zeros(0, 3, 8, 8, dtype=torch.uint8)).shape == (0, 3, 8, 8)
