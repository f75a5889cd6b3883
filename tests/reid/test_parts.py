"""Names, sampler, losses and the frozen neck."""

from collections import Counter

import pytest
import torch
from torch import nn

from keepcore.run.errors import UserError
from reid.config import Config, Data, Loss, Model
from reid.losses import batch_hard_triplet, centre_loss
from reid.model import build_model
from reid.sampler import identity_batches
from reid.sources import open_source


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
    with pytest.raises(UserError, match="no ResNet"):
        build_model(Config(model=Model(name="vit_tiny_patch16_224")), 5)
