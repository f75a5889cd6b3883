"""What is done with a trained backbone: fidelity, export, evaluation of either part."""

import json

import pytest
import timm
import torch
from safetensors import safe_open

from engine import checkpoint
from keepcore.config import KeepConfig
from networks.weights import load
from pretrain import evaluate, export, fidelity, pictures, train
from pretrain.config import Baseline, Config, Policy
from pretrain.trainer import augmentation_name


@pytest.mark.slow
def test_export_for_timm_and_torchvision(run, tmp_path, capsys):
    import torchvision
    from safetensors.torch import load_file

    out = tmp_path / "r18.safetensors"
    assert export.main([str(run), str(out)]) == 0
    model = timm.create_model("resnet18", num_classes=10, checkpoint_path=str(out))
    saved = checkpoint.load(run / "last.pth")["state_dict"]
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    torchvision.models.resnet18(num_classes=10).load_state_dict(load_file(out))
    with safe_open(out, "pt") as file:
        told = file.metadata()
    assert told["arch"] == "resnet18"
    assert told["dataset"] == "demo"
    assert {"mean", "std", "size", "crop_pct", "interpolation"} == set(json.loads(told["input"]))
    assert "packages" in json.loads(told["provenance"])
    assert export.main([str(run), str(tmp_path / "r18.pth")]) == 0
    timm.create_model("resnet18", num_classes=10, checkpoint_path=str(tmp_path / "r18.pth"))
    assert export.main([str(run), str(tmp_path / "r18.bin")]) == 2
    assert "must end in one of" in capsys.readouterr().err


@pytest.mark.slow
def test_a_folder_is_timms_hub_form_and_is_read_back(run, tmp_path):
    folder = tmp_path / "hub"
    assert export.main([str(run), str(folder)]) == 0
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    saved = checkpoint.load(run / "last.pth")["state_dict"]
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    timms = timm.data.resolve_model_data_config(model)
    input_of = json.loads(checkpoint.load(run / "last.pth")["input"])
    assert tuple(timms["input_size"]) == (3, input_of["size"], input_of["size"])
    for name in ("mean", "std", "crop_pct", "interpolation"):
        theirs = list(timms[name]) if name in ("mean", "std") else timms[name]
        assert theirs == input_of[name]
    assert (
        json.loads((folder / "config.json").read_text())["label_names"][0]
        == json.loads(checkpoint.load(run / "last.pth")["classes"])[0]
    )
    assert timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=3).num_classes == 3
    loaded = load(folder)
    assert (loaded.arch, loaded.augment) == ("resnet18", "plain")
    assert export.main([str(run), str(folder)]) == 0  # again, over itself


@pytest.mark.slow
def test_export_to_onnx_is_checked(run, tmp_path):
    import onnx
    import onnxruntime

    out = tmp_path / "r18.onnx"
    assert export.main([str(run), str(out)]) == 0
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    images = torch.randn(5, 3, 32, 32)  # another batch than the one of the export
    (logits,) = session.run(None, {"images": images.numpy()})
    model = timm.create_model("resnet18", num_classes=10)
    model.load_state_dict(checkpoint.load(run / "last.pth")["state_dict"])
    with torch.no_grad():
        assert torch.allclose(model.eval()(images), torch.from_numpy(logits), rtol=1e-3, atol=1e-3)
    assert {prop.key for prop in onnx.load(str(out)).metadata_props} >= {"arch", "input", "provenance"}


@pytest.mark.slow
def test_evaluate_the_training_part(run, capsys):
    assert evaluate.main([str(run), "--device", "cpu", "--workers", "0", "--split", "train"]) == 0
    train_numbers = json.loads(capsys.readouterr().out)
    assert train_numbers["top1"] * 400 % 100 == pytest.approx(0, abs=1e-3)  # 400 images, each counted once
    assert evaluate.main([str(run), "--split", "test"]) == 2
    assert "split must be one of val, train" in capsys.readouterr().err


@pytest.mark.slow
def test_attentive_cutmix_with_a_trained_network(run, demo, tmp_path, capsys):
    argv = ["--data.dataset", "demo", "--data.root", str(demo), "--data.batch_size", "8", "--data.workers", "0"]
    argv += ["--device", "cpu", "--model.name", "wrn_10_1", "--max_steps", "2", "--data.image_size", "32"]
    argv += ["--baseline.name", "attentive_cutmix", "--baseline.attention"]
    assert train.main([*argv, str(run), "--output", str(tmp_path / "a")]) == 0
    assert train.main([*argv, str(tmp_path / "none.pth"), "--output", str(tmp_path / "b")]) == 2
    assert "none.pth" in capsys.readouterr().err
    both = ["--augment.op", "cutout", "--output", str(tmp_path / "c")]
    assert train.main([*argv, str(run), *both]) == 2
    assert "cannot be combined" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, "plain"),
        ({"augment": KeepConfig(op="cutmix")}, "KeepCutMix"),
        ({"augment": KeepConfig(op="cutmix", selective=False)}, "CutMix"),
        ({"augment": KeepConfig(op="cutout"), "policy": Policy(name="randaugment")}, "KeepCutout+randaugment"),
        ({"augment": KeepConfig(op="paste"), "policy": Policy(name="randaugment")}, "Keeprandaugment"),
        ({"baseline": Baseline(name="mixup")}, "mixup"),
    ],
)
def test_what_a_backbone_was_trained_with_has_a_name(change, name):
    assert augmentation_name(Config(**change)) == name


@pytest.mark.slow
def test_the_checkpoint_and_its_export_say_it(run, tmp_path):
    assert checkpoint.load(run / "last.pth")["augment"] == "plain"
    assert export.main([str(run), str(tmp_path / "r18.safetensors")]) == 0
    assert [load(path).augment for path in (run, tmp_path / "r18.safetensors")] == ["plain", "plain"]


@pytest.mark.slow
def test_numbers_out_of_range_are_refused_in_one_line(run, tmp_path, capsys):
    for command, argv, message in (
        (evaluate, [str(run), "--batch_size", "0"], "batch_size must be at least 1"),
        (evaluate, [str(run), "--workers", "-1"], "workers must be at least 0"),
        (pictures, [str(run), str(tmp_path / "a.png"), "--columns", "0"], "columns must be in [1, 200]"),
        (fidelity, [str(run), "--images", "0"], "images must be at least 1"),
    ):
        assert command.main(argv) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
