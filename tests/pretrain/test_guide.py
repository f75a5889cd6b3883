"""Kept saliency maps, and other networks than the one in training as their source."""

import json

import pytest
import torch
from PIL import Image

from engine import checkpoint
from engine.loader import shuffled
from engine.seed import generator
from imagesets.classification import Records
from imagesets.normalize import Normalize
from imagesets.resident import CropDraws
from keepcore import MapCache, build_keep
from keepcore.config import KeepConfig
from keepcore.draws import BatchShard
from pretrain import export, train
from pretrain.config import Data, Policy
from pretrain.crop_windows import CpuIndices, IndexedLoader, resident_windows
from pretrain.data import train_transform
from pretrain.guide import KeptMaps, Renormalise
from pretrain.loaders import resident_loader

KEEP = ["--augment.op", "cutout", "--augment.length", "8", "--augment.saliency", "feature_gradient"]


def options(demo, *more):
    argv = ["--data.dataset", "demo", "--data.root", str(demo), "--data.batch_size", "16", "--data.workers", "0"]
    argv += ["--device", "cpu", "--model.name", "cifar_resnet18", "--model.options", "{width: 4}"]
    return [*argv, "--data.image_size", "32", "--data.crop", "resized", *KEEP, *map(str, more)]


def gradient_image(height, width):
    """Red is the row, green the column, both as a share of the side."""
    rows = torch.arange(height).float()[:, None].expand(height, width) / height
    columns = torch.arange(width).float()[None].expand(height, width) / width
    pixels = torch.stack([rows, columns, torch.zeros(height, width)], 2)
    return Image.fromarray((pixels * 255).round().byte().numpy())


@pytest.mark.parametrize("crop", ["pad", "resized"])
@pytest.mark.parametrize("policy", ["none", "after_crop", "before_crop"])
def test_a_window_says_where_its_crop_lies(crop, policy):
    """The colours of the crop's pixels are where they come from."""
    data = Data(crop=crop, image_size=24, padding=4, area=(0.3, 1.0), hflip=0.5)
    options = Policy() if policy == "none" else Policy(name="trivialaugment", order=policy)
    image = gradient_image(40, 30)
    with_windows, plain = (train_transform(data, options, with_windows=flag) for flag in (True, False))
    mirrored = 0
    for seed in range(20):
        torch.manual_seed(seed)
        views, (scale_y, offset_y, scale_x, offset_x) = with_windows(image)
        torch.manual_seed(seed)
        assert all(torch.equal(*pair) for pair in zip(views, plain(image), strict=True))  # the same draws
        at = (torch.arange(24) + 0.5) / 24
        source_y, source_x = scale_y * at + offset_y, scale_x * at + offset_x
        clean = views[0].float() / 255
        inside = ((source_y > 0.05) & (source_y < 0.95))[:, None] & ((source_x > 0.05) & (source_x < 0.95))[None]
        assert (clean[0] - source_y[:, None])[inside].abs().max() < 0.05
        assert (clean[1] - source_x[None])[inside].abs().max() < 0.05
        mirrored += int(scale_x < 0)
    assert 3 < mirrored < 17


def test_windows_of_resident_crops():
    images = Records(
        torch.stack([torch.tensor(list(gradient_image(16, 16).getdata())).view(16, 16, 3)] * 6).byte().numpy(),
        [0] * 6,
    )
    plan = shuffled(6, 6, 0)
    loader = IndexedLoader(
        resident_loader(images, plan, 0, device=torch.device("cpu"), padding=3, hflip=0.5, with_windows=True), plan
    )
    loader.set_epoch(4)
    ((views, _, extras),) = list(loader)
    assert extras["epoch"] == 4
    assert extras["index"].cpu_B.tolist() == plan(4)[0]
    at = (torch.arange(16) + 0.5) / 16
    for image, (scale_y, offset_y, scale_x, offset_x) in zip(
        views[0].float() / 255, extras["window"], strict=True
    ):
        source_y, source_x = scale_y * at + offset_y, scale_x * at + offset_x
        inside = ((source_y > 0) & (source_y < 1))[:, None] & ((source_x > 0) & (source_x < 1))[None]
        assert (image[0] + 0.5 / 16 - source_y[:, None])[inside].abs().max() < 0.01
        assert (image[1] + 0.5 / 16 - source_x[None])[inside].abs().max() < 0.01
    draws = CropDraws(torch.tensor([0]), [(torch.tensor([[3, 3]]), torch.tensor([False]))])
    assert resident_windows(draws, 3, (16, 16)).tolist() == [[1.0, 0.0, 1.0, 0.0]]


def test_kept_maps_are_the_exact_ones_in_the_first_epoch_and_old_ones_later(tiny_net):
    operation = build_keep(KeepConfig(op="cutout", length=4, saliency="feature_gradient", stage="layer2"))
    kept = KeptMaps(MapCache(8, 16), every=4)
    images, labels = torch.rand(4, 3, 16, 16, generator=generator(0, "x")), torch.tensor([0, 1, 2, 3])
    extras = {"index": CpuIndices([3, 5, 6, 7]), "window": torch.tensor([[1.0, 0.0, 1.0, 0.0]] * 4), "epoch": 0}

    def maps(epoch, net):
        return kept.maps(operation, net, images, labels, {**extras, "epoch": epoch}, BatchShard())

    exact = operation.map_of(tiny_net, images, labels)
    first = maps(0, tiny_net)
    for one, other in zip(first, exact, strict=True):
        assert torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1] > 0.99
    with torch.no_grad():
        tiny_net.fc.weight.copy_(torch.randn_like(tiny_net.fc.weight))
    second = maps(1, tiny_net)  # (3 + 1) % 4 and (7 + 1) % 4 are 0
    changed = [not torch.equal(one, other) for one, other in zip(first, second, strict=True)]
    assert changed == [True, False, False, True]


def test_renormalising():
    given, wanted = Normalize((0.1, 0.2, 0.3), (0.5, 0.6, 0.7)), Normalize((0.5, 0.5, 0.5), (0.2, 0.3, 0.4))
    pixels = torch.randint(256, (2, 3, 4, 4), dtype=torch.uint8)
    torch.testing.assert_close(Renormalise(given, wanted)(given(pixels)), wanted(pixels))
    assert Renormalise(given, wanted).changes
    assert not Renormalise(given, given).changes


@pytest.mark.slow
def test_a_resumed_run_has_the_maps_of_an_uninterrupted_one(demo, tmp_path):
    more = ["--guide.refresh", 3, "--epochs", 2, "--max_steps", 40, "--data.on_corrupt", "fail"]
    assert train.main([*options(demo, *more), "--output", str(tmp_path / "whole")]) == 0
    part = [*options(demo, *more), "--output", str(tmp_path / "part")]
    assert train.main([*part, "--save_every", "13", "--max_steps", "33"]) == 0
    assert train.main([*part, "--resume"]) == 0
    whole, resumed = (checkpoint.load(tmp_path / name / "last.pth") for name in ("whole", "part"))
    maps = [content["resume"]["tensors"]["saliency_maps"] for content in (whole, resumed)]
    assert torch.equal(*maps)
    assert (maps[0].flatten(1).any(1)).float().mean() > 0.9
    assert all(torch.equal(value, resumed["state_dict"][name]) for name, value in whole["state_dict"].items())
    assert (
        train.main([*options(demo, *more), "--guide.refresh", "1", "--output", str(tmp_path / "part"), "--resume"])
        == 2
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", ["student", "ema", "FILE", "RENORMALISED"])
@pytest.mark.parametrize("refresh", [1, 4])
def test_every_source_of_maps_trains(demo, tmp_path, model, refresh):
    more = ["--ema_decay", 0.9] if model == "ema" else []
    if model in ("FILE", "RENORMALISED"):
        assert train.main([*options(demo, "--max_steps", 2), "--output", str(tmp_path / "small")]) == 0
        model, given = str(tmp_path / "small.safetensors"), model
        assert export.main([str(tmp_path / "small"), model]) == 0
        if given == "RENORMALISED":
            _change_mean(model)
    argv = options(
        demo, "--guide.model", model, "--guide.refresh", refresh, "--epochs", 1, "--max_steps", 3, *more
    )
    assert train.main([*argv, "--output", str(tmp_path / "run")]) == 0
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["flat_map_share"] == 0
    assert 0 < row["box_saliency_share"] < 1


def _change_mean(path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    inputs = json.loads(metadata["input"]) | {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    save_file(load_file(path), path, metadata | {"input": json.dumps(inputs)})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--guide.refresh", "0"], "guide.refresh must be at least 1"),
        (["--guide.model", "ema"], "add --ema_decay"),
        (["--guide.model", "missing.pth"], "guide.model: missing.pth not found"),
        (["--guide.refresh", "2", "--augment.control", "mean_map"], "averages a batch"),
        (["--guide.refresh", "2", "--data.on_corrupt", "skip"], "maps cannot be kept"),
        (["--guide.model", "x.pth", "--augment.head", "early"], "has no early head"),
    ],
)
def test_mistakes(demo, more, message, tmp_path, capsys):
    assert train.main([*options(demo, *more), "--output", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
