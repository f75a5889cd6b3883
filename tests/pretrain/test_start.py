"""Training that starts from weights: which files, the last layer, the input, freezing, and rates per layer."""

import json
import shutil

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

from engine import checkpoint
from engine.config import OptimConfig
from engine.errors import UserError
from engine.setup import _optimizer
from networks.create import create_network
from networks.open import open_network
from networks.start import freeze_modules, inputs_of_weights, start_network
from pretrain import evaluate, export, train
from pretrain.config import Config, Data, Model
from pretrain.inputs import with_inputs


def options(class_folders, *more):
    argv = ["--data.dataset", "folder", "--data.root", str(class_folders), "--data.batch_size", "8"]
    argv += ["--data.workers", "0", "--device", "cpu", "--model.name", "resnet10t", "--max_steps", "2"]
    return [*argv, "--data.crop", "resized", *map(str, more)]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A plain state dict of another number of classes, as timm's own files are."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("weights") / "resnet10t.pth"
    torch.save(timm.create_model("resnet10t", num_classes=7).state_dict(), path)
    return path


def test_the_last_layer_starts_anew_where_the_classes_differ(raw, tmp_path):
    state = torch.load(raw, weights_only=True)
    model, remarks = start_network("resnet10t", 10, {}, pretrained=False, weights=str(raw))
    own = model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in state.items() if not name.startswith("fc."))
    assert own["fc.weight"].shape == (10, 512)
    assert remarks == (f"{raw} has 7 classes: the last layer, fc, starts from random weights",)
    same, none = start_network("resnet10t", 7, {}, pretrained=False, weights=str(raw))
    assert none == ()
    assert all(torch.equal(same.state_dict()[name], value) for name, value in state.items())
    headless = {name: value for name, value in state.items() if not name.startswith("fc.")}
    save_file(headless, tmp_path / "headless.safetensors")
    _, remarks = start_network(
        "resnet10t", 7, {}, pretrained=False, weights=str(tmp_path / "headless.safetensors")
    )
    assert "has no last layer" in remarks[0]


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "cifar_resnet18"])
def test_networks_of_other_kinds(name, tmp_path):
    torch.save(create_network(name, 3, {}).state_dict(), tmp_path / "w.pth")
    model, remarks = start_network(name, 4, {}, pretrained=False, weights=str(tmp_path / "w.pth"))
    assert len(remarks) == 1
    assert model(torch.rand(1, 3, 224, 224) if "cifar" not in name else torch.rand(1, 3, 32, 32)).shape == (1, 4)


def test_a_file_that_records_no_input_has_that_of_its_architecture(tmp_path):
    torch.save(create_network("vit_tiny_patch16_224", 3, {}).state_dict(), tmp_path / "w.pth")
    weights = str(tmp_path / "w.pth")
    found = inputs_of_weights("vit_tiny_patch16_224", pretrained=False, weights=weights)
    assert (found.mean, found.interpolation, found.size) == ((0.5, 0.5, 0.5), "bicubic", 224)
    assert open_network(weights, arch="vit_tiny_patch16_224").std == (0.5, 0.5, 0.5)


def test_weights_that_do_not_fit(raw):
    with pytest.raises(UserError, match="weights of a different architecture"):
        start_network("resnet18", 7, {}, pretrained=False, weights=str(raw))
    with pytest.raises(UserError, match="two sources of weights"):
        inputs_of_weights("resnet18", pretrained=True, weights=str(raw))
    with pytest.raises(UserError, match="missing.pth not found"):
        inputs_of_weights("resnet18", pretrained=False, weights="missing.pth")


def test_the_hub_s_weights_give_one_line_when_they_cannot_be_had(monkeypatch):
    def offline(*arguments, **more):
        raise OSError("no\nconnection")

    monkeypatch.setattr("networks.start.timm.create_model", offline)
    with pytest.raises(
        UserError, match="weights of resnet18 cannot be had: no connection; .*--model.weights"
    ) as error:
        start_network("resnet18", 10, {}, pretrained=True, weights="")
    assert "\n" not in str(error.value)


def test_the_hub_s_weights_are_timm_s(monkeypatch):
    asked = {}

    def create(name, **more):
        asked.update(more, name=name)
        return "network"

    monkeypatch.setattr("networks.start.timm.create_model", create)
    assert start_network("resnet18", 10, {"drop_rate": 0.1}, pretrained=True, weights="") == ("network", ())
    assert asked == {"name": "resnet18", "pretrained": True, "num_classes": 10, "drop_rate": 0.1}


def test_the_input_is_that_of_the_weights_unless_it_is_given():
    config = with_inputs(Config(model=Model(name="vit_tiny_patch16_224", pretrained=True)))
    data = config.data
    assert (data.image_size, data.mean, data.std) == (224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (data.interpolation, data.crop_pct) == ("bicubic", 0.9)
    given = Data(image_size=96, mean=(0.1, 0.2, 0.3), std=(0.2, 0.2, 0.2), interpolation="bilinear", crop_pct=0.8)
    assert with_inputs(Config(model=Model(name="vit_tiny_patch16_224", pretrained=True), data=given)).data == given
    plain = with_inputs(Config()).data
    assert (plain.image_size, plain.mean, plain.crop_pct, plain.interpolation) == (64, (), 1.0, "bilinear")
    with pytest.raises(UserError, match="give both or neither"):
        with_inputs(Config(data=Data(mean=(0.5, 0.5, 0.5))))
    with pytest.raises(UserError, match=r"data.mean must be three numbers in \[0, 1\]"):
        with_inputs(Config(data=Data(mean=(128.0, 128.0, 128.0), std=(1.0, 1.0, 1.0))))


@pytest.mark.slow
def test_fine_tuning_a_run_takes_its_input_and_evaluates_with_it(class_folders, raw, tmp_path, capsys):
    first = tmp_path / "first"
    more = ["--data.image_size", 48, "--data.crop_pct", 0.8, "--data.mean", "[0.5, 0.4, 0.3]"]
    more += ["--data.std", "[0.3, 0.3, 0.3]", "--data.interpolation", "bicubic", "--model.weights", raw]
    assert train.main([*options(class_folders, *more), "--output", str(first)]) == 0
    assert "has 7 classes: the last layer, fc, starts from random weights" in capsys.readouterr().err
    exported, hub, second = tmp_path / "r10.safetensors", tmp_path / "hub", tmp_path / "second"
    assert export.main([str(first), str(exported)]) == 0
    assert export.main([str(first), str(hub)]) == 0
    expected = {"mean": [0.5, 0.4, 0.3], "std": [0.3, 0.3, 0.3], "size": 48, "crop_pct": 0.8}
    expected["interpolation"] = "bicubic"
    for weights in (first, exported, hub):
        argv = options(class_folders, "--model.weights", weights, "--output", second, "--overwrite")
        assert train.main(argv) == 0
        assert "starts from random weights" not in capsys.readouterr().err  # the same classes
        assert json.loads(checkpoint.load(second / "last.pth")["input"]) == expected
    assert yaml.safe_load((second / "config.yaml").read_text())["data"]["image_size"] == 0  # as it was given
    last = json.loads((second / "metrics.jsonl").read_text().splitlines()[-1])
    assert evaluate.main([str(second), "--device", "cpu", "--workers", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["top1"] == pytest.approx(last["top1"])
    assert train.main([*options(class_folders, "--model.weights", hub), "--output", str(second), "--resume"]) == 0


@pytest.mark.slow
def test_frozen_modules_do_not_change_and_export_like_others(class_folders, raw, tmp_path, capsys):
    run = tmp_path / "run"
    more = ["--model.weights", raw, "--model.freeze", "[conv1, bn1, layer1]", "--data.image_size", 32]
    more += ["--optim.decay_norm_bias", "true", "--ema_decay", 0.5]
    assert train.main([*options(class_folders, *more), "--output", str(run)]) == 0
    before, after = torch.load(raw, weights_only=True), checkpoint.load(run / "last.pth")["state_dict"]
    frozen = [name for name in before if name.split(".")[0] in ("conv1", "bn1", "layer1")]
    assert len(frozen) > 10
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    moved = [name for name in before if name.startswith("layer2") and before[name].is_floating_point()]
    assert not any(torch.equal(before[name], after[name]) for name in moved if "running" in name)
    assert export.main([str(run), str(tmp_path / "r10.safetensors")]) == 0
    assert (
        train.main([*options(class_folders, "--model.freeze", "[layer9]"), "--output", str(tmp_path / "x")]) == 2
    )
    assert "the network has no module 'layer9' (did you mean 'layer" in capsys.readouterr().err


def test_freezing_keeps_batchnorm_in_evaluation():
    net = create_network("resnet10t", 3, {})
    freeze_modules(net, ["layer1"])
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items() if "running" in name}
    net(torch.rand(4, 3, 32, 32))
    after = net.state_dict()
    assert all(torch.equal(value, after[name]) == name.startswith("layer1") for name, value in before.items())


def test_rates_per_layer_are_timm_s():
    net = create_network("vit_tiny_patch16_224", 3, {})
    optim = OptimConfig(name="adamw", lr=1.0, weight_decay=0.05, layer_decay=0.5, decay_norm_bias=False)
    ours = _optimizer(optim, net, None)
    theirs = timm.optim.create_optimizer_v2(net, "adamw", lr=1.0, weight_decay=0.05, layer_decay=0.5)

    def rates(optimizer):
        named = {id(p): name for name, p in net.named_parameters()}
        return {
            named[id(p)]: (group["lr_scale"], group["weight_decay"])
            for group in optimizer.param_groups
            for p in group["params"]
        }

    assert rates(ours) == rates(theirs)
    assert len(rates(ours)) == len(list(net.parameters()))


def test_the_last_layer_can_have_a_rate_of_its_own():
    net = create_network("resnet10t", 3, {})
    optimizer = _optimizer(OptimConfig(lr=0.1, head_lr=10.0), net, None)
    scales = {id(p): group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: scales[id(p)] for name, p in net.named_parameters() if scales[id(p)] != 1.0} == {
        "fc.weight": 10.0,
        "fc.bias": 10.0,
    }
    assert len(scales) == len(list(net.parameters()))
    assert all(group["weight_decay"] == 5e-4 for group in optimizer.param_groups)


@pytest.mark.slow
def test_a_folder_of_photographs_in_one_command(class_folders, raw, tmp_path, capsys):
    """No validation part, a batch that is too large, classes of different sizes."""
    photos = tmp_path / "photos"
    shutil.copytree(class_folders / "train", photos)
    for path in sorted((photos / sorted(p.name for p in photos.iterdir())[0]).iterdir())[2:]:
        path.unlink()
    run = tmp_path / "run"
    argv = ["--config", "finetune", "--data.root", str(photos), "--output", str(run), "--device", "cpu"]
    argv += ["--model.pretrained", "false", "--model.name", "resnet10t", "--model.weights", str(raw)]
    assert train.main([*argv, "--data.workers", "0", "--epochs", "1", "--data.image_size", "32"]) == 0
    said = capsys.readouterr().err
    assert "no validation part: " in said
    assert "data.batch_size is lowered to" in said
    assert "has 7 classes: the last layer, fc, starts from random weights" in said
    assert len((run / "split.csv").read_text().splitlines()) == 39
    assert evaluate.main([str(run), "--device", "cpu", "--workers", "0"]) == 0
    wrong = ["--data.dataset", str(photos), "--output", str(tmp_path / "x")]
    assert train.main(wrong) == 2
    assert f"use --data.dataset folder --data.root {photos}" in capsys.readouterr().err
