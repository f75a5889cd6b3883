"""The step: what is augmented how, whose saliency decides, what the logs say."""

import copy
from dataclasses import replace

import pytest
import torch

from engine.errors import UserError
from imagesets.normalize import Normalize
from keepcore.draws import BatchShard, among
from semi_supervised.config import Config, Guide, Loss, Strong
from semi_supervised.inputs import CIFAR10_MEAN, CIFAR10_STD
from semi_supervised.losses import consistency_loss, pseudo_target, supervised_loss
from semi_supervised.step import build_step
from semi_supervised.strong import build_strong

NORMALIZE = Normalize(CIFAR10_MEAN, CIFAR10_STD)


def generators(seed=0):
    return torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)


def batch(labelled=4, unlabelled=6, crops=2):
    g = torch.Generator().manual_seed(0)

    def images(count):
        return torch.randint(0, 256, (count, 3, 16, 16), generator=g, dtype=torch.uint8)

    truth = torch.randint(0, 5, (unlabelled,), generator=g)
    return ([images(labelled)], torch.arange(labelled) % 5), ([images(unlabelled) for _ in range(crops)], truth)


def small(**change):
    base = Config(strong=Strong(cutout=4), augment=replace(Config().augment, length=6))
    return replace(base, **change)


def step_of(config, model, guide=None, share=BatchShard(), seed=0):  # noqa: B008
    strong = build_strong(config, guide or (lambda: model), NORMALIZE, generators(seed), share)
    return build_step(config, model, strong, NORMALIZE, lambda: 0.5, 5)


def test_losses_equal_those_of_the_definition(tiny_net):
    tiny_net.drop.p = 0.0
    twin = copy.deepcopy(tiny_net)
    config = small(loss=Loss(weight=2.0, temperature=0.4, threshold=0.2, entropy=0.1))
    labelled, unlabelled = batch()
    result = step_of(config, tiny_net)((labelled, unlabelled))
    views = build_strong(config, lambda: twin, NORMALIZE, generators(), BatchShard())(unlabelled[0][1])
    parts = [NORMALIZE(labelled[0][0]), NORMALIZE(unlabelled[0][0]), views.strong_UCHW]
    logits, weak, strong = twin(torch.cat(parts)).split([4, 6, 6])
    supervised = supervised_loss(logits, labelled[1])
    consistency = consistency_loss(pseudo_target(weak, "soft", 0.4, 0.2), strong)
    probability = weak.softmax(1)
    entropy = -(probability * probability.log()).sum(1).mean()
    assert result.loss.item() == pytest.approx((supervised + 2 * consistency + 0.1 * entropy).item(), rel=1e-5)
    assert result.images == 4 + 12
    assert 0 < result.logs["kept_saliency_share"] < 1
    assert result.logs["mask_rate"] == 1.0


def test_plain_and_kept_views_of_a_seed_are_augmented_alike(tiny_net):
    crops = batch()[1][0][1]
    keep, plain = (
        build_strong(c, lambda: tiny_net, NORMALIZE, generators(), BatchShard())(crops)
        for c in (small(), small(augment=replace(small().augment, op="none")))
    )
    assert torch.equal(keep.plain_UCHW, plain.strong_UCHW)
    changed = (keep.strong_UCHW != keep.plain_UCHW).any(1)
    for index, (y0, x0, y1, x1) in enumerate(keep.kept.boxes_B4.tolist()):
        inside = keep.strong_UCHW[index, :, y0:y1, x0:x1]
        assert torch.equal(inside, keep.clean_UCHW[index, :, y0:y1, x0:x1])
        assert not changed[index, :y0].any()
        assert not changed[index, y1:].any()


def test_processes_augment_what_one_would(tiny_net):
    crops = batch()[1][0][1]
    whole = build_strong(small(), lambda: tiny_net, NORMALIZE, generators(), BatchShard())(crops)
    parts = [
        build_strong(small(), lambda: tiny_net, NORMALIZE, generators(), BatchShard(r, 2))(
            crops[3 * r : 3 * r + 3]
        )
        for r in (0, 1)
    ]
    assert torch.equal(whole.strong_UCHW, torch.cat([part.strong_UCHW for part in parts]))


def test_shared_crop_takes_the_weak_views(tiny_net):
    labelled, (views, truth) = batch()
    config = small(strong=Strong(cutout=4, shared_crop=True))
    one = step_of(config, tiny_net.eval())((labelled, ([views[0]], truth)))
    same = step_of(config, tiny_net)((labelled, ([views[0], views[0]], truth)))
    assert one.loss.item() == same.loss.item()


def test_confident_images_only(tiny_net):
    """Images below the threshold are not pasted into and no saliency is taken for them."""
    tiny_net.drop.p = 0.0
    (labelled, labels), (views, truth) = batch()
    first = torch.cat([NORMALIZE(labelled[0]), NORMALIZE(views[0])])
    confidence = copy.deepcopy(tiny_net)(first)[4:].softmax(1).amax(1)
    threshold = confidence.sort().values[2:4].mean().item()
    config, seen = small(loss=Loss(threshold=threshold), guide=Guide(confident_only=True)), []

    class Spy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny_net

        def forward(self, x):
            seen.append(len(x))
            return self.inner(x)

    spy = Spy()
    result = step_of(config, spy)(((labelled, labels), (views, truth)))
    assert result.logs["mask_rate"] == 0.5
    assert seen == [10, 3, 6]


def test_chosen_draws():
    operation = build_strong(small(), lambda: None, NORMALIZE, generators(), BatchShard()).operation
    draws = operation.draw(6, 16, 16, generator=torch.Generator().manual_seed(0))
    chosen = torch.tensor([True, False, True, False, False, True])
    some = among(draws, chosen)
    assert some.picked_P.tolist() == [0, 2, 5]
    assert torch.equal(some.u_P, draws.u_P[[0, 2, 5]])
    with pytest.raises(ValueError, match="mixed"):
        among(draws._replace(partner_P=torch.arange(6)), chosen)


def test_another_network_may_guide(tiny_net):
    other = copy.deepcopy(tiny_net)
    with torch.no_grad():
        other.layer1[0].weight.normal_()
    own, others = (step_of(small(), tiny_net.eval(), guide)(batch()) for guide in (None, lambda: other))
    assert own.logs["kept_saliency_share"] != others.logs["kept_saliency_share"]


def test_pseudo_label_accuracy_counts_known_truth_only(tiny_net):
    labelled, (views, truth) = batch()
    config = small(loss=Loss(threshold=0.0))
    weak = tiny_net.eval()(NORMALIZE(views[0])).argmax(1)
    right = step_of(config, tiny_net)((labelled, (views, weak)))
    assert right.logs["pseudo_label_accuracy"] == 1.0
    unknown = step_of(config, tiny_net)((labelled, (views, torch.full_like(truth, -1))))
    assert unknown.logs["pseudo_label_accuracy"].isnan()


def test_labels_alone(tiny_net):
    labelled, _ = batch()
    result = step_of(small(loss=Loss(weight=0.0)), tiny_net)((labelled, None))
    assert set(result.logs) == {"supervised_loss", "tsa_threshold"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": Loss(threshold=1.2)}, r"loss\.threshold must be in \[0, 1\], got 1.2"),
        ({"loss": Loss(threshold=float("nan"))}, r"loss\.threshold"),
        ({"loss": Loss(temperature=0.0)}, r"loss\.temperature"),
        ({"loss": Loss(weight=-1.0)}, r"loss\.weight"),
        ({"loss": Loss(tsa="square")}, r"loss\.tsa"),
        ({"loss": Loss(target="medium")}, r"loss\.target"),
        ({"strong": Strong(level=11)}, "level must be in 1-10 on the scale uda"),
        ({"strong": Strong(space="tv32")}, "space"),
        ({"strong": Strong(prob=2.0)}, "prob"),
        ({"strong": Strong(cutout=-1)}, r"strong\.cutout"),
    ],
)
def test_mistakes(change, message, tiny_net):
    with pytest.raises(UserError, match=message):
        step_of(small(**change), tiny_net)
