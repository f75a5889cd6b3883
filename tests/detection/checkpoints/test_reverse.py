"""Detectron2 back to timm: bit-equal, from every kind of file."""

import json

import pytest
import timm
import torch
import torchvision

from detection import reverse as command
from detection.checkpoints.arch import ARCHS
from detection.checkpoints.convert import convert
from detection.checkpoints.reverse import backbone
from detection.detectors.build import build, load_weights
from detection.table11.rows import CONFIGS, ROWS
from engine.errors import UserError
from networks.weights import load
from tests.detection.conftest import lively

LAZY = CONFIGS / "lazy"


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnext50_32x4d", "resnet50_gn"])
def test_round_trip_is_bit_equal(name):
    source = lively(name, num_classes=7).state_dict()
    back = backbone(convert(source, ARCHS[name], keep_fc=True))
    kept = {k for k in source if not k.endswith("num_batches_tracked")}
    assert back.keys() == kept
    assert all(torch.equal(back[k], source[k]) for k in kept)
    assert timm.create_model(name, num_classes=7).load_state_dict(back, strict=True)


@pytest.mark.parametrize("row", ["c4_r50", "fpn_r50", "retinanet_r50"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_from_a_trained_detector(row, suffix, sources, backbones, tmp_path):
    """What train_net.py saves, with its config beside it; timm, torchvision and our converter take the result."""
    built = build(ROWS[row].path)
    load_weights(built.model, backbones[50])
    out = tmp_path / "run"
    out.mkdir()
    torch.save({"model": built.model.state_dict(), "iteration": 3}, out / "model_final.pth")
    (out / "config.yaml").write_text(built.cfg.dump())
    back = tmp_path / f"back{suffix}"
    assert command.main([str(out / "model_final.pth"), str(back)]) == 0
    found, source = load(back), load(sources[50])
    assert found.arch == "resnet50"
    assert found.mean == pytest.approx(source.mean)
    assert all(torch.equal(value, source.state[name]) for name, value in found.state.items())
    assert timm.create_model("resnet50", num_classes=0).load_state_dict(found.state, strict=True)
    missing = torchvision.models.resnet50().load_state_dict(found.state, strict=False)
    assert (sorted(missing.missing_keys), missing.unexpected_keys) == (["fc.bias", "fc.weight"], [])


def test_a_bgr_detector_gives_an_rgb_network(backbones, tmp_path):
    """The features of one image are the same, whichever end its channels are counted from."""
    options = [
        "INPUT.FORMAT",
        "BGR",
        "MODEL.PIXEL_MEAN",
        "[103.0,116.0,123.0]",
        "MODEL.PIXEL_STD",
        "[57.0,58.0,59.0]",
    ]
    built = build(ROWS["retinanet_r50"].path, options)
    load_weights(built.model, backbones[50])
    torch.save({"model": built.model.state_dict()}, tmp_path / "model.pth")
    (tmp_path / "config.yaml").write_text(built.cfg.dump())
    assert command.main([str(tmp_path / "model.pth"), str(tmp_path / "back.pth")]) == 0
    back = load(tmp_path / "back.pth")
    net = timm.create_model("resnet50", features_only=True, out_indices=(4,)).eval()
    net.load_state_dict(back.state)
    image_3HW = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (back.mean, back.std))
    with torch.no_grad():
        (ours,) = net(((image_3HW / 255 - mean) / std)[None])
        theirs = built.model.backbone.bottom_up(
            built.model.preprocess_image([{"image": image_3HW.flip(0)}]).tensor
        )
    assert (ours - theirs["res5"]).abs().max() < 1e-4 * ours.abs().max()


def test_from_a_lazy_run(backbones, tmp_path):
    """The config.yaml of lazyconfig_train_net.py names Python objects."""
    from detectron2.config import LazyConfig

    built = build(LAZY / "faster_rcnn_R_50_FPN_3x.py")
    load_weights(built.model, backbones[50])
    torch.save({"model": built.model.state_dict()}, tmp_path / "model_final.pth")
    LazyConfig.save(built.cfg, str(tmp_path / "config.yaml"))
    assert "!!python" in (tmp_path / "config.yaml").read_text()
    assert command.main([str(tmp_path / "model_final.pth"), str(tmp_path / "back.pth")]) == 0
    assert load(tmp_path / "back.pth").mean == pytest.approx((0.485, 0.456, 0.406))


def test_what_cannot_go_back(backbones, tmp_path, capsys):
    built = build(ROWS["fpn_r50"].path, ["MODEL.RESNETS.STRIDE_IN_1X1", "True"])
    torch.save({"model": built.model.state_dict()}, tmp_path / "model.pth")
    out = str(tmp_path / "out.pth")
    for config, message in (
        (None, "give the config.yaml"),
        ("A: 1", "not a config.yaml of"),
        ("MODEL: {}", "lacks"),
        (built.cfg.dump(), "strides"),
    ):
        if config:
            (tmp_path / "config.yaml").write_text(config)
        assert command.main([str(tmp_path / "model.pth"), out]) == 2
        assert message in capsys.readouterr().err
    assert command.main([str(backbones[50]), str(tmp_path / "out.onnx")]) == 2
    dumped = built.cfg.dump().replace("STRIDE_IN_1X1: true", "STRIDE_IN_1X1: false")
    assert "RES5_DILATION: 1" in dumped
    (tmp_path / "config.yaml").write_text(dumped.replace("RES5_DILATION: 1", "RES5_DILATION: 2"))
    assert command.main([str(tmp_path / "model.pth"), out]) == 2
    assert "dilated" in capsys.readouterr().err
    whole = (tmp_path / "model.pth").read_bytes()
    assert command.main([str(tmp_path / "model.pth"), str(tmp_path / "model.pth")]) == 2
    assert (tmp_path / "model.pth").read_bytes() == whole
    deformable = {
        **torch.load(backbones[50], weights_only=True)["model"],
        "res3.0.conv2_offset.weight": torch.ones(1),
    }
    with pytest.raises(UserError, match="conv2_offset.weight has no counterpart"):
        backbone(deformable)
    with pytest.raises(UserError, match="not a ResNet"):
        backbone({"a": torch.ones(1)})
    converted = dict(torch.load(backbones[18], weights_only=True)["model"])
    del converted["res3.1.conv2.norm.bias"]
    with pytest.raises(UserError, match="res3.1.conv2.norm.bias is missing"):
        backbone(converted)
    assert not (tmp_path / "out.pth").exists()
    assert json.loads(torch.load(backbones[18], weights_only=True)["keepaugment"])["arch"] == "resnet18"
