"""Selection among boxes of the plain augmentation's size, against a slow loop; the law of areas; the controls."""

import itertools
from functools import partial

import pytest
import torch

from keepcore import KeepConfig, KeepCutMix, KeepCutout, KeepRandomErasing, anywhere, build_keep
from keepcore.boxes import box_area
from keepcore.controls import centre_map, mean_map, noise_map, random_places
from keepcore.draws import Draws
from keepcore.regions import above, below
from keepcore.saliency import input_gradient
from keepcore.scores import candidates
from keepcore.selection import same_size_as_plain, select_boxes
from tests.references import boxes_of, eligible_weights, score_of


def draws_of(sizes, u):
    count = len(u)
    return Draws(torch.arange(count), torch.tensor(sizes), torch.tensor(u, dtype=torch.float64), None, 0)


@pytest.mark.parametrize("side", ["below", "above"])
@pytest.mark.parametrize("quantile", [0.0, 0.3, 0.6, 1.0])
@pytest.mark.parametrize("sizes", [[[4, 3]], [[4, 3], [5, 2], [0, 0], [9, 7]]])
def test_matched_selection_against_a_loop(side, quantile, sizes):
    """The plain box decides the size; the rest of the number chooses among all boxes of that size by rank."""
    height, width = 6, 7
    generator = torch.Generator().manual_seed(3)
    maps = torch.rand(4, height, width, generator=generator)
    selector = {"below": below, "above": above}[side]
    options = {"selector": selector, "quantile": quantile, "border": "clip", "match": "area"}
    for start in (0.0, 0.013, 0.31, 0.77):
        u = [start, (start + 0.27) % 1, (start + 0.5) % 1, (start + 0.9) % 1]
        boxes = select_boxes(maps, draws_of(sizes, u), **options).boxes_P4.tolist()
        for index in range(4):
            h, w = sizes[index if len(sizes) > 1 else 0]
            every = boxes_of(height, width, h, w, "clip")
            used = u[index] * len(every)
            y0, x0, y1, x1 = every[int(used)]
            same = [box for box in every if (box[2] - box[0], box[3] - box[1]) == (y1 - y0, x1 - x0)]
            scores = [score_of(maps[index], box) for box in same]
            weights = eligible_weights(scores, quantile, side)
            target = (used - int(used)) * sum(weights)
            running = list(itertools.accumulate(weights))
            expected = next(n for n, total in enumerate(running) if total > target)
            assert tuple(boxes[index]) == same[expected], (index, start)


@pytest.mark.parametrize(
    "make",
    [
        partial(KeepCutout, 9),
        partial(KeepCutMix, 1.0),
        partial(KeepCutMix, 1.0, per="image"),
        partial(KeepRandomErasing, 1.0, border="clip"),
    ],
)
@pytest.mark.parametrize("control", ["none", "shuffled", "same_size"])
def test_every_draw_has_the_size_of_the_plain_one(make, control, tiny_net):
    images, labels = torch.randn(16, 3, 14, 12), torch.arange(16) % 5
    for seed in range(20):
        sizes = []
        for options in ({"selector": anywhere}, {"match": "area", "control": control}):
            generator = torch.Generator().manual_seed(seed)
            boxes = make(**options)(tiny_net, images, labels, generator=generator).boxes_B4
            sizes.append(boxes[:, 2:] - boxes[:, :2])
        if control == "shuffled":
            sizes[0] = sizes[0].roll(1, 0)
        assert torch.equal(*sizes)


def test_the_law_of_the_area_is_the_plain_augmentations():
    """100,000 draws each; without matching, the same test rejects clearly."""
    side, images = 12, 100_000
    generator = torch.Generator().manual_seed(0)
    u_P = torch.rand(images, generator=generator, dtype=torch.float64)
    map_PHW = torch.rand(1, side, side, generator=generator).expand(images, -1, -1)
    grid = candidates(torch.tensor([[6, 6]]), side, side, "clip")
    rows, columns = grid.y1_SY - grid.y0_SY, grid.x1_SX - grid.x0_SX
    areas = (rows[0, :, None] * columns[0, None, :]).flatten()
    values, counts = areas.unique(return_counts=True)
    expected = counts / counts.sum() * images
    statistics = {}
    for match in ("area", "any"):
        draws = Draws(torch.arange(images), torch.tensor([[6, 6]]), u_P, None, 0)
        options = {"selector": below, "quantile": 0.6, "border": "clip", "match": match}
        seen = box_area(select_boxes(map_PHW, draws, **options).boxes_P4)
        observed = torch.stack([(seen == value).sum() for value in values])
        statistics[match] = float(((observed - expected) ** 2 / expected).sum())
    assert statistics["area"] < 2.5 * len(values)  # mean of chi-square: the number of values less 1
    assert statistics["any"] > 1000


def test_the_second_number_is_uniform_and_independent():
    u_P = torch.rand(50_000, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grid = candidates(torch.tensor([[5, 5]]), 32, 32, "clip")
    matched, rest_P = same_size_as_plain(grid, u_P)
    assert rest_P.min() >= 0
    assert rest_P.max() < 1
    assert rest_P.mean().item() == pytest.approx(0.5, abs=0.01)
    assert abs(torch.corrcoef(torch.stack([u_P, rest_P]))[0, 1]) < 0.02
    assert (matched.count_S == matched.valid_y_SY.sum(1) * matched.valid_x_SX.sum(1)).all()


def test_inside_the_image_matching_changes_nothing(tiny_net):
    images, labels = torch.randn(6, 3, 14, 12), torch.arange(6) % 5
    boxes = [
        KeepRandomErasing(1.0, match=match)(
            tiny_net, images, labels, generator=torch.Generator().manual_seed(4)
        ).boxes_B4
        for match in ("any", "area")
    ]
    assert torch.equal(*boxes)


def test_a_flat_map_gives_the_plain_law(tiny_net):
    images = torch.zeros(64, 3, 14, 12)
    constant = lambda network, images, target=None: torch.ones(len(images), 14, 12)  # noqa: E731
    sizes = []
    for options in ({"selector": anywhere}, {"match": "area", "saliency": constant}):
        kept = KeepCutout(9, **options)(tiny_net, images, generator=torch.Generator().manual_seed(0))
        sizes.append(kept.boxes_B4[:, 2:] - kept.boxes_B4[:, :2])
    assert torch.equal(*sizes)
    assert kept.flat_B.all()


def test_matching_keeps_the_object_better_than_a_smaller_hole_does(tiny_net):
    """A bright square in the middle: matched boxes have the plain area and still lose less of it."""
    images, labels = torch.zeros(256, 3, 32, 32), torch.zeros(256, dtype=torch.int64)
    bright = lambda network, images, target=None: torch.zeros(len(images), 32, 32).index_fill_(  # noqa: E731
        1, torch.arange(12, 20), 1.0
    )
    lost = {}
    for name, options in (("plain", {"selector": anywhere}), ("area", {"match": "area"})):
        keep = KeepCutout(8, saliency=bright, **options)
        boxes = keep(tiny_net, images, labels, generator=torch.Generator().manual_seed(0)).boxes_B4
        rows = (boxes[:, 2].clamp(max=20) - boxes[:, 0].clamp(min=12)).clamp(min=0)
        overlap = rows * (boxes[:, 3] - boxes[:, 1])
        lost[name] = (overlap.sum() / box_area(boxes).sum()).item()
    assert lost["area"] < 0.8 * lost["plain"]


def test_noise_is_drawn_from_the_steps_seed(tiny_net):
    images, labels = torch.randn(8, 3, 14, 12), torch.arange(8) % 5
    keep = KeepCutout(5, saliency=noise_map)
    boxes = [
        keep(tiny_net, images, labels, generator=torch.Generator().manual_seed(seed)).boxes_B4
        for seed in (0, 0, 1)
    ]
    assert torch.equal(boxes[0], boxes[1])
    assert not torch.equal(boxes[0], boxes[2])
    map_BHW = keep.map_of(tiny_net, images)
    assert torch.equal(map_BHW, keep.map_of(tiny_net, images))
    assert map_BHW.flatten(1).std(1).min() > 0.1
    assert not torch.equal(map_BHW[0], map_BHW[1])


def test_the_centre_prior_is_a_gaussian():
    map_BHW = centre_map(None, torch.zeros(2, 3, 40, 60))
    assert map_BHW.shape == (2, 40, 60)
    assert map_BHW[0, 19:21, 29:31].min() > 0.99
    profile = map_BHW[0].sum(1)
    at = (torch.arange(40) + 0.5) / 40 - 0.5
    assert torch.allclose(profile / profile.max(), torch.exp(-0.5 * (at / 0.25) ** 2), atol=0.01)
    torch.testing.assert_close(map_BHW, map_BHW.flip(1).flip(2))


def test_the_mean_map_weighs_images_alike_and_skips_useless_ones():
    maps = torch.stack(
        [torch.tensor([[1.0, 3.0]]), 100 * torch.tensor([[3.0, 1.0]]), torch.full((1, 2), torch.nan)]
    )
    maps = torch.cat([maps, torch.zeros(1, 1, 2)])
    mean = mean_map(lambda network, images, target=None: maps)(None, maps[:, None])
    assert torch.equal(mean, torch.full((4, 1, 2), 0.5))


def test_random_places_keep_the_size_and_cover_the_image():
    boxes = torch.tensor([[0, 0, 3, 4]]).expand(4000, -1)
    moved = random_places(boxes, 8, 9, torch.Generator().manual_seed(0))
    assert torch.equal(moved[:, 2:] - moved[:, :2], boxes[:, 2:] - boxes[:, :2])
    assert moved.min() >= 0
    assert moved[:, 2].max() == 8
    assert moved[:, 3].max() == 9
    counts = torch.bincount(moved[:, 0] * 6 + moved[:, 1], minlength=36)
    assert ((counts - 4000 / 36) ** 2 / (4000 / 36)).sum() < 70


@pytest.mark.parametrize("control", ["none", "shuffled", "same_size", "mean_map", "centre", "noise"])
@pytest.mark.parametrize("match", ["any", "area"])
@pytest.mark.parametrize("saliency", ["input_gradient", "feature_gradient"])
@pytest.mark.parametrize("op", ["cutout", "cutmix", "paste", "erasing"])
def test_every_choice_goes_with_every_other(op, saliency, match, control, tiny_net):
    stage = next(name for name, module in tiny_net.named_modules() if isinstance(module, torch.nn.Conv2d))
    more = {"stage": stage} if saliency == "feature_gradient" else {}
    config = KeepConfig(op=op, saliency=saliency, match=match, control=control, length=4, scale=0.5, **more)
    images, labels = torch.randn(6, 3, 14, 12), torch.arange(6) % 5
    views = -images if op == "paste" else None
    kept = build_keep(config)(tiny_net, images, labels, views, generator=torch.Generator().manual_seed(0))
    fired = box_area(kept.boxes_B4) > 0
    share = kept.share_B[fired & ~kept.flat_B]
    assert ((share >= 0) & (share <= 1)).all()
    box = kept.boxes_B4
    assert (box >= 0).all()
    assert (box[:, 2] <= 14).all()
    assert (box[:, 3] <= 12).all()


def test_mistakes():
    for options, message in (
        ({"match": "size"}, "match must be one of any, area, got 'size'"),
        ({"control": "random"}, "control must be one of none, shuffled, same_size, got 'random'"),
    ):
        with pytest.raises(ValueError, match=message):
            KeepCutout(4, **options)
    for config, message in (
        (KeepConfig(stage="layer3"), "stage 'layer3' belongs to saliency feature_gradient"),
        (KeepConfig(shuffled=True, control="noise"), "give either shuffled or control"),
        (
            KeepConfig(control="random"),
            "control must be one of none, mean_map, shuffled, same_size, centre, noise",
        ),
        (KeepConfig(saliency="cam"), "saliency must be one of input_gradient, feature_gradient"),
    ):
        with pytest.raises(ValueError, match=message):
            build_keep(config)
    assert mean_map(input_gradient) is not input_gradient
