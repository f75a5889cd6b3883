import itertools
import json
import os
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from keepcore import (
    EarlyHead,
    KeepConfig,
    KeepCutMix,
    KeepCutout,
    KeepPaste,
    KeepRandomErasing,
    anywhere,
    build_keep,
)
from keepcore.boxes import box_area, box_mask
from keepcore.build import FILLS, OPERATIONS, SCORES
from keepcore.compiled import compiled_logits
from keepcore.draws import shard
from keepcore.regions import below
from keepcore.saliency import input_gradient, max_logit

GOLDEN = Path(__file__).parents[1] / "golden" / "boxes.json"
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])


def batch():
    g = torch.Generator().manual_seed(3)
    return torch.randn(6, 3, 12, 10, generator=g), torch.randn(6, 3, 12, 10, generator=g)


@pytest.mark.parametrize(
    ("op", "score", "scale", "head", "keep", "border", "bn"),
    list(
        itertools.product(
            OPERATIONS,
            SCORES,
            [1.0, 0.5],
            ["full", "early"],
            [True, False],
            ["inside", "clip"],
            ["eval", "batch_nostats"],
        )
    ),
)
def test_cross_product(tiny_net, op, score, scale, head, keep, border, bn):
    """Whatever is combined: inside is a, outside is b, the model is untouched, lambda is the pixel count."""
    net = EarlyHead(tiny_net, 5, image_size=16).train()
    images, augmented = batch()
    config = KeepConfig(
        op=op, score=score, scale=scale, head=head, selective=keep, border=border, bn=bn, length=4, prob=0.7
    )
    state = {k: v.clone() for k, v in net.state_dict().items()}
    versions = images._version, augmented._version
    operation = build_keep(config)
    views = augmented if op == "paste" else None
    labels = torch.eye(5)[LABELS] if score == "multilabel_loss" else LABELS
    kept = operation(net, images, labels, views, generator=torch.Generator().manual_seed(0))
    base = images if views is None else views
    inside = {"cutout": 0 * images, "erasing": 0 * images, "paste": images, "cutmix": None}[op]
    if op == "cutmix":
        inside = images[kept.partner_B]
        share = 1 - box_area(kept.boxes_B4) / 120
        torch.testing.assert_close(kept.lam_B, share)
    mask = box_mask(kept.boxes_B4, 12, 10)[:, None].expand_as(images)
    assert torch.equal(kept.images_BCHW[mask], inside[mask])
    assert torch.equal(kept.images_BCHW[~mask], base[~mask])
    assert (images._version, augmented._version) == versions
    assert all(torch.equal(state[k], v) for k, v in net.state_dict().items())
    assert all(m.training for m in net.modules())
    assert all(p.grad is None for p in net.parameters())
    fired = box_area(kept.boxes_B4) > 0
    assert fired.any()
    assert kept.share_B[fired].isnan().all() == (not keep)
    target = kept.target(LABELS, 5)
    assert torch.equal(target, LABELS) if op != "cutmix" else torch.allclose(target.sum(1), torch.ones(6))


PLAIN = {
    "cutout": partial(KeepCutout, 4),
    "erasing": partial(KeepRandomErasing, 0.5),
    "cutmix": partial(KeepCutMix, 1.0),
    "cutmix_image": partial(KeepCutMix, 0.5, per="image", border="inside"),
    "paste": partial(KeepPaste, 4),
}


@pytest.mark.parametrize("name", PLAIN)
def test_the_baseline_is_the_same_code_with_tau_at_its_end(tiny_net, name):
    """tau = 1 (cut) and tau = 0 (paste) give the plain augmentation bit for bit, from the same generator."""
    images, augmented = batch()
    views = augmented if name == "paste" else None
    end = PLAIN[name](quantile=0.0 if name == "paste" else 1.0)
    plain = PLAIN[name](selector=anywhere)
    for seed in range(50):
        a = end(tiny_net, images, LABELS, views, generator=torch.Generator().manual_seed(seed))
        b = plain(tiny_net, images, LABELS, views, generator=torch.Generator().manual_seed(seed))
        assert torch.equal(a.boxes_B4, b.boxes_B4)
        assert torch.equal(a.images_BCHW, b.images_BCHW)
        assert torch.equal(a.lam_B, b.lam_B)


def test_keep_cuts_less_and_pastes_more_saliency_than_the_plain_operation(tiny_net):
    images = torch.randn(64, 3, 16, 16)
    images[:, :, 4:9, 5:11] *= 6
    labels = torch.zeros(64, dtype=torch.int64)
    share = {}
    for quantile in (0.0, 0.3, 0.6, 1.0):
        for name, make in (("cut", KeepCutout), ("paste", KeepPaste)):
            keep = make(5, quantile=quantile, border="inside")
            kept = keep(tiny_net, images, labels, 0 * images, generator=torch.Generator().manual_seed(0))
            share[name, quantile] = kept.share_B.mean().item()
    assert share["cut", 0.0] < share["cut", 0.3] < share["cut", 0.6] < share["cut", 1.0]
    assert share["paste", 0.0] < share["paste", 0.3] < share["paste", 0.6] < share["paste", 1.0]


@pytest.mark.parametrize("value", [0.0, 2.5, float("nan"), float("inf")])
def test_a_map_without_information_means_the_plain_draw(value):
    """Flat, NaN and infinite maps: counted, and the box is the baseline's."""
    images, _ = batch()

    def broken(logits_fn, images_BCHW, target_B=None):
        out = torch.full((6, 12, 10), 1.0)
        out[:] = value
        return out

    for border in ("inside", "clip"):
        keep = KeepCutout(5, border=border, saliency=broken)
        plain = KeepCutout(5, border=border, selector=anywhere)
        kept = keep(lambda x: x, images, LABELS, generator=torch.Generator().manual_seed(5))
        want = plain(lambda x: x, images, LABELS, generator=torch.Generator().manual_seed(5))
        assert kept.flat_B.all()
        assert not want.flat_B.any()
        assert torch.equal(kept.boxes_B4, want.boxes_B4)


def test_one_broken_map_leaves_the_others_alone():
    images, _ = batch()
    maps = torch.rand(6, 12, 10)
    broken = maps.clone()
    broken[2, 3, 3] = torch.nan
    results = []
    for each in (maps, broken):
        keep = KeepCutout(5, saliency=lambda *a, each=each: each)
        results.append(keep(lambda x: x, images, LABELS, generator=torch.Generator().manual_seed(5)))
    assert results[1].flat_B.tolist() == [False, False, True, False, False, False]
    others = [0, 1, 3, 4, 5]
    assert torch.equal(results[0].boxes_B4[others], results[1].boxes_B4[others])


def test_one_candidate_and_box_equal_to_the_image(tiny_net):
    images, augmented = batch()
    cut = KeepCutout((12, 10), border="inside", quantile=0.0)(tiny_net, images, LABELS)
    assert cut.boxes_B4.tolist() == [[0, 0, 12, 10]] * 6
    assert cut.images_BCHW.abs().max() == 0
    paste = KeepPaste((12, 10))(tiny_net, images, LABELS, augmented)
    assert torch.equal(paste.images_BCHW, images)
    with pytest.raises(ValueError, match="does not fit"):
        KeepPaste((13, 10))(tiny_net, images, LABELS, augmented)


def test_saliency_is_taken_only_for_the_images_the_coin_picked():
    seen = []

    def counting(logits_fn, images_BCHW, target_B=None):
        seen.append(len(images_BCHW))
        return input_gradient(logits_fn, images_BCHW, target_B)

    images = torch.randn(200, 3, 8, 8)
    keep = KeepRandomErasing(0.5, saliency=counting)
    kept = keep(lambda x: x.flatten(1), images, torch.zeros(200, dtype=torch.int64))
    assert seen == [int((box_area(kept.boxes_B4) > 0).sum())]
    assert 70 < seen[0] < 130
    nothing = KeepRandomErasing(0.0, saliency=counting)(lambda x: x.flatten(1), images)
    assert nothing.images_BCHW is images
    assert len(seen) == 1


def test_cutmix_coin_and_labels(tiny_net):
    images, _ = batch()
    rounds = [
        KeepCutMix(prob=0.5)(tiny_net, images, LABELS, generator=torch.Generator().manual_seed(s))
        for s in range(100)
    ]
    fired = [bool((box_area(k.boxes_B4) > 0).any()) for k in rounds]
    assert 30 < sum(fired) < 70
    idle = rounds[fired.index(False)]
    assert torch.equal(idle.target(LABELS, 5), nn.functional.one_hot(LABELS, 5).float())
    mixed = rounds[fired.index(True)]
    target = mixed.target(LABELS, 5)
    for i, partner in enumerate(mixed.partner_B.tolist()):
        want = torch.zeros(5)
        want[LABELS[i]] += mixed.lam_B[i]
        want[LABELS[partner]] += 1 - mixed.lam_B[i]
        torch.testing.assert_close(target[i], want)


def test_cut_of_an_augmented_view_uses_the_clean_views_saliency(tiny_net):
    images, augmented = batch()
    a = KeepCutout(4)(tiny_net, images, LABELS, augmented, generator=torch.Generator().manual_seed(1))
    b = KeepCutout(4)(tiny_net, images, LABELS, generator=torch.Generator().manual_seed(1))
    assert torch.equal(a.boxes_B4, b.boxes_B4)
    outside = ~box_mask(a.boxes_B4, 12, 10)[:, None].expand_as(images)
    assert torch.equal(a.images_BCHW[outside], augmented[outside])


def test_policy_on_the_device_and_bound_form(tiny_net):
    images, _ = batch()
    kept = KeepPaste(4, policy=torch.neg)(tiny_net, images, LABELS)
    mask = box_mask(kept.boxes_B4, 12, 10)[:, None]
    assert torch.equal(kept.images_BCHW, torch.where(mask, images, -images))
    out, target = KeepCutMix(prob=1.0).bind(tiny_net, 5)(images, LABELS)
    assert out.shape == images.shape
    assert target.shape == (6, 5)
    out, target = KeepCutout(4).bind(tiny_net, 5)(images, LABELS)
    assert target is LABELS


def test_saliency_without_labels(tiny_net):
    images, _ = batch()
    with pytest.raises(ValueError, match="needs labels"):
        KeepCutout(4)(tiny_net, images)
    KeepCutout(4, saliency=partial(input_gradient, score=max_logit))(tiny_net, images)


def test_errors(tiny_net):
    images, augmented = batch()
    for options in ({"quantile": 1.5}, {"quantile": float("nan")}, {"quantile": -1.0}):
        with pytest.raises(ValueError, match="quantile"):
            KeepCutout(4, **options)
    with pytest.raises(ValueError, match="prob"):
        KeepRandomErasing(1.2)
    with pytest.raises(ValueError, match="augmented"):
        KeepPaste(4)(tiny_net, images, LABELS)
    with pytest.raises(ValueError, match="one shape"):
        KeepPaste(4)(tiny_net, images, LABELS, augmented[:, :, :4])
    with pytest.raises(ValueError, match="EarlyHead"):
        build_keep(KeepConfig(head="early"))(tiny_net, images, LABELS)
    for field, value in (("op", "cutmax"), ("score", "prob"), ("head", "late"), ("fill", "red")):
        with pytest.raises(ValueError, match=f"{field} must be one of .*{value}"):
            build_keep(KeepConfig(**{field: value}))


def test_golden_draws():
    """Fixed maps and seeds give the boxes of record: ``make golden`` rewrites them, on purpose only."""
    g = torch.Generator().manual_seed(11)
    maps = torch.rand(6, 12, 10, generator=g)
    images = torch.zeros(6, 3, 12, 10)
    got = {}
    for name, make in PLAIN.items():
        keep = make(saliency=lambda logits_fn, picked, target: maps[: len(picked)])
        views = images + 1 if name == "paste" else None
        kept = keep(lambda x: x, images, LABELS, views, generator=torch.Generator().manual_seed(2))
        got[name] = kept.boxes_B4.tolist()
    if os.environ.get("REWRITE_GOLDEN"):
        GOLDEN.write_text(json.dumps(got) + "\n")
    assert got == json.loads(GOLDEN.read_text())


def test_training_goes_on_under_ddp_and_compile(tiny_net, tmp_path):
    """The pass neither confuses DDP's reducer nor the compiled module, and all three choose the same regions."""
    images, _ = batch()
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", world_size=1, rank=0)
    try:
        ddp = nn.parallel.DistributedDataParallel(tiny_net)
        compiled = torch.compile(tiny_net, backend="aot_eager")
        boxes = []
        for model in (tiny_net, ddp, compiled):
            for _ in range(2):
                keep = KeepCutout(4, quantile=0.3)
                kept = keep(model, images, LABELS, generator=torch.Generator().manual_seed(0))
                nn.functional.cross_entropy(model(kept.images_BCHW), LABELS).backward()
                model.zero_grad()
            tiny_net.layer1[1].reset_running_stats()
            boxes.append(keep(model, images, LABELS, generator=torch.Generator().manual_seed(0)).boxes_B4)
        assert torch.equal(boxes[0], boxes[1])
        assert torch.equal(boxes[0], boxes[2])
    finally:
        torch.distributed.destroy_process_group()


def test_default_selector_is_selective():
    assert KeepCutout().selector is below
    assert FILLS.keys() == {"constant", "mean", "noise"}


def test_shuffled_boxes_are_those_of_other_images(tiny_net):
    """The control: the same set of boxes, each on the next image; the logged share is the new image's own."""
    images, _ = batch()
    keep = KeepCutout(5)
    own = keep(tiny_net, images, LABELS, generator=torch.Generator().manual_seed(4))
    control = KeepCutout(5, control="shuffled")
    other = control(tiny_net, images, LABELS, generator=torch.Generator().manual_seed(4))
    assert torch.equal(other.boxes_B4, own.boxes_B4.roll(1, 0))
    map_BHW = keep.map_of(tiny_net, images, LABELS)
    inside = (map_BHW * box_mask(other.boxes_B4, 12, 10)).sum((1, 2)) / map_BHW.sum((1, 2))
    assert torch.allclose(other.share_B, inside, atol=1e-5)
    assert build_keep(KeepConfig(shuffled=True)).control == "shuffled"


@pytest.mark.parametrize("op", ["cutout", "erasing", "paste"])
def test_processes_together_augment_as_one(tiny_net, op):
    images, augmented = batch()
    keep = build_keep(KeepConfig(op=op, length=4, prob=0.7))
    draws = keep.draw(6, 12, 10, generator=torch.Generator().manual_seed(2))
    whole = keep.apply(tiny_net, images, LABELS, augmented, draws)
    parts = [
        keep.apply(tiny_net, images[part], LABELS[part], augmented[part], shard(draws, rank, 2, 6))
        for rank, part in enumerate((slice(0, 3), slice(3, 6)))
    ]
    assert torch.equal(torch.cat([p.boxes_B4 for p in parts]), whole.boxes_B4)
    assert torch.equal(torch.cat([p.images_BCHW for p in parts]), whole.images_BCHW)
    with pytest.raises(ValueError, match="does not divide"):
        shard(draws, 0, 4, 6)


def test_partners_are_looked_for_within_the_process():
    keep = KeepCutMix(1.0, prob=1.0)
    draws = keep.draw(8, 12, 10, generator=torch.Generator().manual_seed(2))
    for rank in (0, 1):
        mine = shard(draws, rank, 2, 8)
        assert sorted(mine.partner_P.tolist()) == [0, 1, 2, 3]
        assert torch.equal(mine.sizes_S2, draws.sizes_S2)
        assert torch.equal(mine.u_P, draws.u_P[4 * rank : 4 * rank + 4])


def test_compiled_saliency_is_the_eager_one_and_takes_no_weight_gradients(tiny_net, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # needs no C++ compiler
    images, _ = batch()
    eager = KeepCutout(4).map_of(tiny_net, images, LABELS)
    compiled = KeepCutout(4, head=compiled_logits).map_of(tiny_net, images, LABELS)
    assert torch.allclose(eager, compiled, rtol=1e-4, atol=1e-6)
    assert tiny_net.training
    assert all(p.grad is None for p in tiny_net.parameters())
    with torch.no_grad():
        tiny_net.fc.weight.mul_(2.0)  # the weights of the moment, not those of the first call
    doubled = KeepCutout(4, head=compiled_logits).map_of(tiny_net, images, LABELS)
    assert torch.allclose(doubled, 2 * compiled, rtol=1e-4, atol=1e-6)
