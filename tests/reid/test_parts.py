"""Names, sampler, losses and the frozen neck."""

from collections import Counter

import pytest
import torch
from torch import nn

from engine.errors import UserError
from reid.config import Config, Data, Loss, Model
from reid.dataset_layouts import open_source
from reid.losses import batch_hard_triplet, centre_loss
from reid.model import build_model
from reid.sampler import identity_batches


def test_junk_is_dropped_and_distractors_stay(demo):
    source = open_source(Data(root=str(demo)))
    people = Counter(photo.person for photo in source.gallery)
    assert -1 not in people
    assert people[0] == 12
    assert source.people == sorted(source.people)
    assert not set(source.people) & set(people)


def test_batches_have_p_identities_with_k_images():
    labels = [0] * 9 + [1] * 4 + [2] * 2 + [3] * 8 + [4] * 5
    plan = identity_batches(labels, 3, 4, seed=1)
    assert plan(0) == plan(0)
    assert plan(0) != plan(1)
    for batch in plan(0) + plan(1):
        counts = Counter(labels[i] for i in batch)
        assert len(counts) == 3
        assert set(counts.values()) == {4}
        for label in (0, 1, 3, 4):  # enough images: none twice
            own = [i for i in batch if labels[i] == label]
            assert len(own) == len(set(own))
    halves = [identity_batches(labels, 4, 2, 1, rank=r, processes=2)(0) for r in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == identity_batches(labels, 4, 2, 1)(0)
    with pytest.raises(UserError, match="identities"):
        identity_batches(labels, 6, 4, 0)


def test_triplet_against_loops_with_unequal_counts():
    features = torch.randn(7, 3, dtype=torch.float64).float()
    labels = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    terms = []
    for i in range(7):
        d = [(features[i] - features[j]).norm().item() for j in range(7)]
        far = max(d[j] for j in range(7) if labels[j] == labels[i])
        near = min(d[j] for j in range(7) if labels[j] != labels[i])
        terms.append(max(0.0, far - near + 0.3))
    assert batch_hard_triplet(features, labels).item() == pytest.approx(sum(terms) / 7, abs=1e-4)
    simple = torch.tensor([[0.0], [1.0], [3.0], [3.5]])
    # positives 1, 1, .5, .5; negatives 3, 2, 2, 2.5: all beyond margin 0.3, so 0; at margin 2: .0 1 .5 0
    pair = torch.tensor([0, 0, 1, 1])
    assert batch_hard_triplet(simple, pair, 0.3).item() == 0
    assert batch_hard_triplet(simple, pair, 2.0).item() == pytest.approx((0 + 1 + 0.5 + 0) / 4, abs=1e-4)


def test_centre_loss_and_its_step():
    centres = nn.Parameter(torch.zeros(3, 2))
    features = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    loss = 0.0005 * centre_loss(features, torch.tensor([1, 2]), centres)
    assert loss.item() == pytest.approx(0.0005 * (25 + 4) / 2)
    loss.backward()
    torch.optim.SGD([centres], 0.5 / 0.0005).step()
    # gradient 2 (c - f) / B, times 0.5: half the distance at B = 2
    torch.testing.assert_close(centres.data, torch.tensor([[0.0, 0.0], [1.5, 2.0], [0.0, 1.0]]))


def test_the_neck_is_frozen_and_the_last_stride_is_one():
    config = Config(model=Model(name="resnet18"), loss=Loss(centre=0.0005))
    model = build_model(config, 5)
    assert not model.neck.bias.requires_grad
    images = torch.randn(2, 3, 64, 32)
    assert model.backbone.forward_features(images).shape[-2:] == (4, 2)
    features, _logits = model(images)
    assert features.shape == (2, 512)
    assert torch.equal(model.eval().logits(images), model(images)[1])
    assert torch.allclose(model.embed(images).norm(dim=1), torch.ones(2))
    assert model.centres.shape == (5, 512)
    with pytest.raises(UserError, match="not a ResNet"):
        build_model(Config(model=Model(name="vit_tiny_patch16_224")), 5)


def test_the_steps_losses_are_the_definitions():
    """Hard-coded from the formulas: label smoothing 0.1 over two classes, batch-hard triplet, centre loss."""
    from imagesets.normalize import Normalize
    from keepcore.draws import BatchShard
    from reid.step import TrainStep

    features = torch.tensor([[0.0], [1.0], [3.0], [3.5]])
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 3.0]])
    step = TrainStep(
        model=lambda images: (features, logits),
        centres_KD=torch.tensor([[0.0], [3.0]]),
        normalize=Normalize((0.5,), (0.5,)),
        operation=None,
        loss=Loss(label_smoothing=0.1, margin=2.0, centre=0.0005),
        generator=torch.Generator(),
        share=BatchShard(),
    )
    result = step((torch.zeros(4, 3, 2, 2, dtype=torch.uint8), torch.tensor([0, 0, 1, 1])))
    assert result.logs["id_loss"].item() == pytest.approx(0.370481, abs=1e-5)
    assert result.logs["triplet_loss"].item() == pytest.approx(0.375, abs=1e-4)
    assert result.logs["centre_loss"].item() == pytest.approx(0.3125, abs=1e-6)
    assert result.loss.item() == pytest.approx(0.370481 + 0.375 + 0.00015625, abs=1e-4)


@pytest.mark.parametrize("selective", [True, False])
def test_two_processes_erase_what_one_does(selective):
    """Same draws, each process its part: the same boxes, with tau = 1 those of plain erasing."""
    from keepcore import KeepRandomErasing, anywhere
    from keepcore.draws import BatchShard
    from keepcore.regions import below
    from keepcore.sizes import erasing_size

    net = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 8, 5))
    images, labels = torch.randn(8, 3, 16, 8), torch.arange(8) % 5
    size = erasing_size(area=(0.02, 0.4), aspect=(0.3, 3.33), log_aspect=False, tries=100)
    options = {"prob": 0.5, "size": size}
    keep = KeepRandomErasing(**options, quantile=0.6, selector=below if selective else anywhere)

    def boxes(op, part, share):
        return op(
            net, images[part], labels[part], generator=torch.Generator().manual_seed(4), share=share
        ).boxes_B4

    whole = boxes(keep, slice(None), BatchShard())
    halves = [boxes(keep, slice(4 * r, 4 * r + 4), BatchShard(r, 2)) for r in (0, 1)]
    assert torch.equal(torch.cat(halves), whole)
    everything = KeepRandomErasing(**options, quantile=1.0)
    plain = KeepRandomErasing(**options, selector=anywhere)
    assert torch.equal(boxes(everything, slice(None), BatchShard()), boxes(plain, slice(None), BatchShard()))


def test_the_released_stem_has_no_relu():
    with_relu, without = (
        build_model(Config(model=Model(name="resnet18", stem_relu=relu)), 5).backbone for relu in (True, False)
    )
    without.load_state_dict(with_relu.state_dict())
    images = torch.randn(1, 3, 32, 16)
    stem = with_relu.bn1(with_relu.conv1(images))
    assert torch.equal(with_relu.act1(stem.clone()), stem.relu())
    assert torch.equal(without.act1(stem.clone()), stem)


def test_weights_of_all_kinds(tmp_path):
    import timm
    from safetensors.torch import save_file

    source = timm.create_model("resnet18", num_classes=3)
    (tmp_path / "run").mkdir()
    torch.save({"state_dict": source.state_dict()}, tmp_path / "run" / "last.pth")
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    for weights in ("run", "run/last.pth", "w.safetensors"):
        model = build_model(Config(model=Model(name="resnet18", weights=str(tmp_path / weights))), 5)
        assert torch.equal(model.backbone.layer3[0].conv1.weight, source.layer3[0].conv1.weight)
    (tmp_path / "bad.safetensors").write_bytes(b"123")
    for weights, message in (("bad.safetensors", "not a safetensors file"), ("none.pth", "none.pth not found")):
        with pytest.raises(UserError, match=message):
            build_model(Config(model=Model(name="resnet18", weights=str(tmp_path / weights))), 5)
    with pytest.raises(UserError, match="different architecture"):
        build_model(Config(model=Model(name="resnet34", weights=str(tmp_path / "run"))), 5)
