import math

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torchvision.transforms import v2

from pretrain.baselines.dropblock import attach_dropblock
from pretrain.baselines.lighting import EIGENVALUES_3, EIGENVECTORS_33, lighting_shift
from pretrain.baselines.mixing import Batch, build_mixer, grid_bars
from pretrain.baselines.randaugment import RANGES, apply_operation, rand_augment
from pretrain.config import Baseline, Policy
from pretrain.data import POLICIES
from pretrain.grid import GRID


@pytest.fixture
def batch(tiny_net):
    images = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 8, 8).contiguous()
    return Batch(tiny_net, images, torch.arange(4), 5, 1.0, torch.Generator().manual_seed(3))


def test_what_magnitude_24_means():
    """The table of the facts: Rotate, shear and enhancement of M = 24 on each scale."""
    space = {name: make(31, 32, 32) for name, (make, _) in v2.RandAugment._AUGMENTATION_SPACE.items()}
    assert float(space["Rotate"][24]) == pytest.approx(24.0)
    assert float(space["ShearX"][24]) == pytest.approx(0.24)
    assert float(space["TranslateX"][24]) == pytest.approx(0.3625 * 32, abs=0.02)
    assert rand_augment("tv31", 3, 24).num_magnitude_bins == 31
    old, tpu = RANGES["ildoonet"], RANGES["tpu10"]
    assert len(old) == len(tpu) == 16
    assert old["Rotate"].at(24) == pytest.approx(24.0)
    assert old["TranslateX"].at(24) == pytest.approx(80.0)
    assert old["Posterize"].at(24) == pytest.approx(3.2)
    assert tpu["Rotate"].at(24) == pytest.approx(72.0)
    assert tpu["Color"].at(24) == pytest.approx(4.42)
    timm_ops = rand_augment("timm", 3, 24).transform.ops
    assert timm_ops[3].name == "Rotate"
    assert timm_ops[3].level_fn(min(10.0, 24), {})[0] in (30.0, -30.0)


def test_imagenets_randaugment_has_the_published_strength():
    """tensorflow/tpu's scale ends at 10 and its Cutout's 40 px are half a side; ildoonet's ends at 30."""
    old, tpu = RANGES["ildoonet"], RANGES["tpu10"]
    assert tpu["Rotate"].at(9) == pytest.approx(27.0)
    assert (tpu["CutoutAbs"].at(10), old["CutoutAbs"].at(30)) == pytest.approx((80.0, 40.0))
    cells = [cell for cell in GRID.cells if cell.data == "imagenet" or "ImageNet" in cell.row]
    policies = [
        cell.config["policy"] for cell in cells if cell.config.get("policy", {}).get("name") == "randaugment"
    ]
    assert len(policies) == 3
    assert all(policy["scale"] == "tpu10" for policy in policies)


def test_ildoonet_adds_everywhere_and_then_solarizes():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 24, 3), dtype=np.uint8))
    out = apply_operation("AddThenSolarize", image, RANGES["ildoonet"]["AddThenSolarize"].at(15))
    added = np.clip(np.asarray(image).astype(int) + 55, 0, 255)
    assert np.array_equal(np.asarray(out), np.where(added < 128, added, 255 - added))


def test_augmix_leaves_out_the_colour_operations():
    """google-research/augmix augment_and_mix.py: no color, contrast, brightness, sharpness; fills with black."""
    policy = POLICIES["augmix"](Policy(name="augmix", magnitude=3))
    used = set(policy._PARTIAL_AUGMENTATION_SPACE)
    assert not policy.all_ops
    assert not used & {"Color", "Contrast", "Brightness", "Sharpness"}
    assert not any(policy.fill.values()) if isinstance(policy.fill, dict) else not policy.fill


@pytest.mark.parametrize("scale", ["tv31", "ildoonet", "tpu10", "timm"])
def test_policies_follow_torchs_generator(scale):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    policy = rand_augment(scale, 3, 9)
    results = []
    for seed in (1, 1, 2, 3):
        torch.manual_seed(seed)
        results.append(np.asarray(policy(image)))
    assert np.array_equal(results[0], results[1])
    assert any(not np.array_equal(results[0], other) for other in results[2:])
    assert all(result.shape == (32, 32, 3) for result in results)


@pytest.mark.parametrize("name", RANGES["tpu10"])
@pytest.mark.parametrize("level", [0, 10, 24])
def test_every_operation_at_every_level(name, level):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 24, 3), dtype=np.uint8))
    before = np.asarray(image).copy()
    out = apply_operation(name, image, RANGES["tpu10"][name].at(level))
    assert out.size == image.size
    assert np.array_equal(np.asarray(image), before)
    if name == "Invert":
        assert np.array_equal(np.asarray(out), 255 - before)
    if name == "SolarizeAdd" and level == 10:
        wanted = np.where(before < 128, np.minimum(before.astype(int) + 110, 255), before)
        assert np.array_equal(np.asarray(out), wanted)
    if name == "TranslateX" and level == 10:
        assert (np.asarray(out) == (125, 123, 114)).all()


def test_unknown_scales_and_levels():
    for scale, level, message in (("tv30", 9, "tv30"), ("tv31", 31, "0-30"), ("tpu10", -1, "negative")):
        with pytest.raises(ValueError, match=message):
            rand_augment(scale, 2, level)


def test_mixup_mixes_images_and_labels_alike(batch):
    mixed = build_mixer(Baseline(name="mixup", alpha=1.0))(batch)
    values = mixed.images_BCHW[:, 0, 0, 0]
    expected = mixed.target @ torch.tensor([0.0, 1.0, 2.0, 3.0, 0.0])  # image i has the value i and the label i
    assert torch.allclose(values, expected, atol=1e-6)
    assert torch.allclose(mixed.target.sum(1), torch.ones(4))
    assert torch.equal(batch.images_BCHW[:, 0, 0, 0], torch.arange(4.0))


def test_manifold_mixup_mixes_a_hidden_layer_and_leaves_no_hook(batch, tiny_net):
    mixer = build_mixer(Baseline(name="manifold_mixup", layers=("layer1",)))
    mixed = mixer(batch)
    assert mixed.images_BCHW is batch.images_BCHW
    seen = []
    handle = tiny_net.drop.register_forward_hook(lambda m, i, o: seen.append(i[0].detach()))
    tiny_net.eval()
    with torch.no_grad():
        plain = tiny_net.layer1(batch.images_BCHW)
        with mixed.during:
            tiny_net(batch.images_BCHW)
        tiny_net(batch.images_BCHW)
    handle.remove()
    weights = mixed.target[:, :4]
    assert torch.allclose(seen[0], torch.einsum("bk,kchw->bchw", weights, plain), atol=1e-5)
    assert torch.allclose(seen[1], plain, atol=1e-6)
    with pytest.raises(ValueError, match="no module named 'layer9'.*layer1"):
        build_mixer(Baseline(name="manifold_mixup", layers=("layer9",)))(batch)


def test_grid_bars_against_a_loop():
    period, keep, offset = 7, 0.4, (2.0, 5.0)
    bar = round(period * keep)
    got = grid_bars(torch.tensor([7.0]), keep, torch.zeros(1), torch.tensor([[2.0], [5.0]]), 10, 12)[0]
    for y in range(10):
        for x in range(12):
            u, v = y - 4.5 - offset[0], x - 5.5 - offset[1]
            assert got[y, x].item() == (u % period < bar or v % period < bar)
    turned = grid_bars(torch.tensor([7.0]), keep, torch.tensor([math.pi / 2]), torch.zeros(2, 1), 11, 11)[0]
    straight = grid_bars(torch.tensor([7.0]), keep, torch.zeros(1), torch.zeros(2, 1), 11, 11)[0]
    assert (turned != straight).float().mean() < 0.5


def test_gridmask_ramps_up_and_removes_squares(batch):
    mixer = build_mixer(Baseline(name="gridmask", grid=(4, 8), keep=0.5, prob=1.0, ramp=0.5))
    ones = batch._replace(images_BCHW=torch.ones(64, 3, 32, 32), labels_B=torch.zeros(64, dtype=torch.long))
    assert mixer(ones._replace(progress=0.0)).images_BCHW.min() == 1
    removed = (mixer(ones).images_BCHW == 0).float().mean((1, 2, 3))
    assert (removed > 0).all()
    assert removed.mean().item() == pytest.approx(0.25, abs=0.06)  # (1 - keep)^2
    half = (mixer(ones._replace(progress=0.25)).images_BCHW == 0).flatten(1).any(1).float().mean()
    assert 0.2 < half < 0.8
    with pytest.raises(ValueError, match="GridMask needs"):
        build_mixer(Baseline(name="gridmask", grid=(8, 8)))


class Attends(torch.nn.Module):
    """Its feature map is the image itself."""

    def forward_features(self, x):
        return x


def test_attentive_cutmix_pastes_the_strongest_cells(batch):
    images = torch.rand(3, 3, 8, 8)
    seen = batch._replace(images_BCHW=images, labels_B=torch.arange(3), num_classes=3)
    mixed = build_mixer(Baseline(name="attentive_cutmix", attention_grid=4, cells=2), Attends())(seen)
    own = mixed.target.diagonal()
    assert torch.isin(own, torch.tensor([1 - 2 / 16, 1.0])).all()
    for i in range(3):
        others = [k for k in range(3) if mixed.target[i, k] > 0 and k != i]
        if not others:
            continue
        changed = (mixed.images_BCHW[i] != images[i]).any(0)
        cells = changed.view(4, 2, 4, 2).transpose(1, 2).flatten(2).all(2).flatten()
        energy = images[others[0]].sum(0).view(4, 2, 4, 2).mean((1, 3)).flatten()
        assert set(cells.nonzero()[:, 0].tolist()) == set(energy.topk(2).indices.tolist())
    with pytest.raises(ValueError, match="baseline.cells"):
        build_mixer(Baseline(name="attentive_cutmix", attention_grid=4, cells=16))


def test_dropblocks_rate_is_a_quarter_in_the_third_group(monkeypatch):
    """tensorflow/tpu resnet_model.py: keep_prob of group g is 1 - (1 - keep) / 4^(4 - g)."""
    from pretrain.baselines import dropblock

    rates = []
    monkeypatch.setattr(dropblock, "drop_block2d", lambda x, rate, side: rates.append((x.shape[2], rate)) or x)
    model = timm.create_model("resnet50", num_classes=4).train()
    attach_dropblock(model, 0.1, 7, lambda: 0.5)
    with torch.no_grad():
        model(torch.randn(2, 3, 64, 64))
    third = {round(rate, 6) for side, rate in rates[: 4 * len(model.layer3)]}
    fourth = {round(rate, 6) for side, rate in rates[4 * len(model.layer3) :]}
    assert (third, fourth) == ({0.0125}, {0.05})


def test_dropblock_acts_in_training_and_ramps_up():
    model = timm.create_model("resnet50", num_classes=4)
    keys = list(model.state_dict())
    progress = [0.0]
    attach_dropblock(model, 0.5, 3, lambda: progress[0])
    assert list(model.state_dict()) == keys
    seen = []
    model.layer4[1].bn2.register_forward_hook(lambda m, i, o: seen.append((o == 0).float().mean().item()))
    images = torch.randn(2, 3, 128, 128)
    for mode, share in ((True, 0.0), (True, 1.0), (False, 1.0)):
        progress[0] = share
        model.train(mode)
        with torch.no_grad():
            model(images)
    assert seen[0] < 0.01
    assert 0.2 < seen[1] < 0.9
    assert seen[2] < 0.01
    with pytest.raises(ValueError, match="drop_block needs"):
        attach_dropblock(timm.create_model("resnet18"), 0.1, 7, float)
    with pytest.raises(ValueError, match="drop_block must be"):
        attach_dropblock(model, 1.0, 7, float)


def test_lighting_is_alexnets():
    draws = torch.Generator().manual_seed(0)
    shift = lighting_shift(5, 0.1, (0.5, 0.25, 1.0), draws)
    alphas = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)) * 0.1
    for i in range(5):
        for c, std in enumerate((0.5, 0.25, 1.0)):
            wanted = sum(EIGENVECTORS_33[c][k] * alphas[i, k].item() * EIGENVALUES_3[k] for k in range(3)) / std
            assert shift[i, c, 0, 0].item() == pytest.approx(wanted, abs=1e-6)
