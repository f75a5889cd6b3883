"""Checkpoints of any nesting are read by the names of the network that they are to fill."""

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

import networks  # noqa: F401
from engine.checkpoint import load_weights
from engine.errors import UserError
from engine.parser import dump
from networks.weights import load
from pretrain.config import Config as PretrainConfig
from reid.load_run import load_trained


def saved(content, tmp_path):
    torch.save(content, tmp_path / "in.pth")
    return tmp_path / "in.pth"


@pytest.mark.parametrize("name", ["shake_shake_26_2x32d", "wrn_10_1", "vit_tiny_patch16_224"])
@pytest.mark.parametrize("prefix", ["", "module.", "module._orig_mod.", "model.backbone."])
def test_the_prefix_is_found_for_any_network(name, prefix, tmp_path):
    model = timm.create_model(name, num_classes=3)
    state = model.state_dict()
    path = saved({"state_dict": {prefix + key: value for key, value in state.items()}}, tmp_path)
    loaded = load(path, like=state.keys())
    assert loaded.prefix == prefix
    load_weights(model, loaded.state, path)


def test_of_two_networks_the_first_is_taken_and_the_other_left_out(tmp_path):
    student, teacher = timm.create_model("wrn_10_1"), timm.create_model("wrn_10_1")
    both = {f"student.{k}": v for k, v in student.state_dict().items()}
    both |= {f"teacher.{k}": v for k, v in teacher.state_dict().items()}
    loaded = load(saved(both, tmp_path), like=student.state_dict().keys())
    assert loaded.prefix == "student."
    assert loaded.state.keys() == student.state_dict().keys()


def test_names_that_do_not_fit_stay_so_that_a_strict_load_reports_them(tmp_path):
    state = {"some.weight": torch.ones(1)}
    assert load(saved(state, tmp_path), like=["conv1.weight"]).state.keys() == state.keys()


def test_the_config_beside_timms_weights_names_the_network(tmp_path):
    """Anti-aliased ResNets have the tensors of plain ones: the name is all that tells them apart."""
    net = timm.create_model("resnetblur18", num_classes=3)
    net.pretrained_cfg |= {"mean": (0.1, 0.2, 0.3)}
    timm.models.save_for_hf(net, str(tmp_path), safe_serialization="both")
    for path in (tmp_path, tmp_path / "model.safetensors", tmp_path / "pytorch_model.bin"):
        loaded = load(path)
        assert loaded.arch == "resnetblur18"
        assert loaded.mean == (0.1, 0.2, 0.3)
        assert torch.equal(loaded.state["conv1.weight"], net.conv1.weight)
    (tmp_path / "config.json").write_text('{"architectures": ["ResNetForImageClassification"]}')
    assert load(tmp_path).arch == ""
    (tmp_path / "config.json").write_text("{")
    assert load(tmp_path).arch == ""


def test_options_in_the_config_beside_the_weights_count(tmp_path):
    net = timm.create_model("resnet18", output_stride=8)
    timm.models.save_for_hf(net, str(tmp_path), safe_serialization=True, model_args={"output_stride": 8})
    with pytest.raises(UserError, match="output_stride"):
        load(tmp_path)


def test_a_checkpoint_of_another_command_is_named_as_such(tmp_path):
    """Its options are unknown here, but the user has not typed any of them."""
    content = {"config": dump(PretrainConfig()), "arch": "resnet18", "num_classes": 3, "epoch": 1}
    path = saved({**content, "input": "{}", "state_dict": {"a": torch.ones(1)}}, tmp_path)
    with pytest.raises(UserError, match=r"in\.pth was not written by reid\.train"):
        load_trained(str(path))


@pytest.mark.parametrize("module", ["numpy._core.multiarray", "numpy.core.multiarray"])
def test_numpy_scalars_and_paths_among_the_arguments_are_read(module, tmp_path):
    args = argparse.Namespace(
        lr=np.float64(0.1), epochs=np.int64(3), decay=np.float32(0.5), amp=np.bool_(True), out=Path("/a/b")
    )
    path = tmp_path / "model.pth"
    torch.save({"state_dict": {"fc.weight": torch.ones(2)}, "args": args, "best": np.float64(3.25)}, path)
    _rename_module(path, "numpy._core.multiarray", module)
    state = load(path).state
    assert state["fc.weight"].tolist() == [1.0, 1.0]


def _rename_module(path, before, after):
    """Give a global of the pickle the name that another NumPy wrote (text form, ended by a line feed)."""
    source = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                old = f"c{before}\n".encode()
                assert old in content
                content = content.replace(old, f"c{after}\n".encode())
            target.writestr(name, content)
