"""The converter: every accepted form gives the same tensors, every other file and network its own sentence."""

import argparse
import itertools
import json
import pickle
import shlex
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from detection.checkpoints.arch import ARCHS, expected_shapes
from detection.checkpoints.convert import choose_arch, convert
from detection.checkpoints.convert_file import Conversion, convert_file
from detection.checkpoints.write import read
from engine.errors import UserError
from networks.weights import load
from tests.detection.conftest import ROOT, command, lively

NAN = float("nan")
TOOL = ROOT / "tools" / "convert_to_d2.py"


@pytest.fixture(scope="module")
def state():
    return lively("resnet18", num_classes=10).state_dict()


def prefixed(state, prefix):
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def without(state, *ends):
    return {name: tensor for name, tensor in state.items() if not name.endswith(ends)}


def test_counts_and_names():
    assert len(expected_shapes(ARCHS["resnet50"])) == 265
    assert len(expected_shapes(ARCHS["resnet101"])) == 520


@pytest.mark.parametrize("name", ARCHS)
def test_shapes_are_those_of_timm(name):
    with torch.device("meta"):
        sd = timm.create_model(name).state_dict()
    sd = {k: torch.ones(()).expand(v.shape) for k, v in sd.items()}
    found, arch, warning = choose_arch(sd, name, "")
    assert (found, arch, warning) == (name, ARCHS[name], "")
    if arch.depth <= 50:  # the larger ones would take gigabytes
        out = convert(sd, arch)
        assert {k: tuple(v.shape) for k, v in out.items()} == expected_shapes(arch)


# ------------------------------------------------------------------------------------------------ accepted files

ARGS = argparse.Namespace(model="resnet18", mean=None, std=None, model_kwargs={"drop_rate": 0.1})
FORMS = {
    "bare": lambda sd: dict(sd),
    "ordered": lambda sd: OrderedDict(sd),
    "timm": lambda sd: {"arch": "resnet18", "state_dict": sd, "args": ARGS, "epoch": 3, "metric": 0.5},
    "torchvision_reference": lambda sd: {"model": sd, "optimizer": {"state": {}}, "epoch": 3},
    "model_state_dict": lambda sd: {"model_state_dict": sd, "loss": 0.1},
    "ddp": lambda sd: prefixed(sd, "module."),
    "compiled": lambda sd: prefixed(sd, "_orig_mod."),
    "ddp_compiled": lambda sd: prefixed(sd, "module._orig_mod."),
    "compiled_ddp": lambda sd: prefixed(sd, "_orig_mod.module."),
    "fsdp": lambda sd: prefixed(sd, "_fsdp_wrapped_module."),
    "averaged": lambda sd: {"n_averaged": torch.tensor(3), **prefixed(sd, "module.")},
    "averaged_in_reference": lambda sd: {"model_ema": {"n_averaged": torch.tensor(3), **prefixed(sd, "module.")}},
    "lightning": lambda sd: {"state_dict": prefixed(sd, "model."), "epoch": 1, "pytorch-lightning_version": "2"},
    "backbone_and_head": lambda sd: {"head.weight": torch.ones(2), **prefixed(sd, "backbone.")},
    "momentum_encoder": lambda sd: {
        "state_dict": {**prefixed(sd, "module.encoder_q."), **prefixed(sd, "module.encoder_k.")}
    },
    "no_fc": lambda sd: without(sd, "fc.weight", "fc.bias"),
    "no_counters": lambda sd: without(sd, "num_batches_tracked"),
    "double": lambda sd: {k: v.double() for k, v in sd.items()},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form, state, tmp_path):
    path = tmp_path / "in.pth.tar"
    torch.save(FORMS[form](state), path)
    out = convert(load(path).state, ARCHS["resnet18"])
    want = convert(state, ARCHS["resnet18"])
    assert out.keys() == want.keys()
    assert all(torch.equal(out[k], want[k]) for k in want)


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pkl"])
def test_suffixes_of_torch_files(suffix, state, tmp_path):
    torch.save(dict(state), tmp_path / f"in{suffix}")
    assert load(tmp_path / f"in{suffix}").state.keys() == state.keys()


def test_run_folder(state, tmp_path):
    metadata = {"arch": "resnet18", "options": '{"zero_init_last": false}', "augment": "KeepCutMix"}
    torch.save(
        {**metadata, "state_dict": state, "input": json.dumps({"mean": [0.5] * 3, "std": [0.25] * 3})},
        tmp_path / "last.pth",
    )
    found = load(tmp_path)
    assert (found.arch, found.augment, found.mean, found.std) == (
        "resnet18",
        "KeepCutMix",
        (0.5,) * 3,
        (0.25,) * 3,
    )


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_safetensors_and_half_precision(kind, state, tmp_path):
    half = {k: v.to(kind) if v.is_floating_point() else v for k, v in state.items()}
    save_file(
        {k: v.contiguous() for k, v in half.items()}, tmp_path / "in.safetensors", {"arch": "resnet18.a1_in1k"}
    )
    loaded = load(tmp_path / "in.safetensors")
    assert loaded.arch == "resnet18"
    out = convert(loaded.state, ARCHS["resnet18"])
    assert all(v.dtype == torch.float32 for v in out.values())
    assert torch.equal(out["stem.conv1.weight"], state["conv1.weight"].to(kind).float())


def test_the_choice_of_averaged_weights_is_told(state, tmp_path):
    other = {k: v + 1 for k, v in state.items()}
    torch.save(
        {"state_dict": state, "state_dict_ema": other, "student": prefixed(state, "module.")}, tmp_path / "a.pth"
    )
    auto, raw, ema, key = (load(tmp_path / "a.pth", use) for use in ("auto", "raw", "ema", "student"))
    assert "averaged" in auto.notes[0]
    assert auto.key == ema.key == "state_dict_ema"
    assert (raw.key, raw.notes, key.key) == ("state_dict", (), "student")
    assert torch.equal(key.state["conv1.weight"], state["conv1.weight"])
    torch.save({"state_dict": state}, tmp_path / "b.pth")
    with pytest.raises(UserError, match="has no ema weights.*state_dict"):
        load(tmp_path / "b.pth", "ema")


def test_averaged_weights_within_one_state_dict(state, tmp_path):
    """Lightning keeps them beside the raw ones; MoCo keeps two encoders."""
    other = {k: v + 1 for k, v in state.items()}
    torch.save({"state_dict": {**prefixed(state, "model."), **prefixed(other, "ema_model.")}}, tmp_path / "a.pth")
    auto, raw = load(tmp_path / "a.pth"), load(tmp_path / "a.pth", "raw")
    assert (auto.prefix, raw.prefix) == ("ema_model.", "model.")
    assert "'model.'" in auto.notes[0]
    assert torch.equal(auto.state["bn1.bias"], other["bn1.bias"])
    assert torch.equal(raw.state["bn1.bias"], state["bn1.bias"])
    torch.save({**state, **prefixed(other, "teacher.")}, tmp_path / "b.pth")
    assert load(tmp_path / "b.pth").state.keys() == state.keys()
    torch.save({"student": state, "teacher": other}, tmp_path / "c.pth")
    with pytest.raises(UserError, match="--use takes one of: student, teacher"):
        load(tmp_path / "c.pth")


def test_arguments_saved_as_a_dict(state, tmp_path):
    args = {"model": "resnet18", "mean": [0.5] * 3, "std": [0.25] * 3}
    torch.save({"model": state, "args": args}, tmp_path / "a.pth")
    found = load(tmp_path / "a.pth")
    assert (found.arch, found.mean, found.std) == ("resnet18", (0.5,) * 3, (0.25,) * 3)
    torch.save({"model": state, "args": {**args, "model_kwargs": {"act_layer": "silu"}}}, tmp_path / "b.pth")
    with pytest.raises(UserError, match="act_layer"):
        load(tmp_path / "b.pth")
    assert load(tmp_path / "b.pth", any_options=True).arch == "resnet18"


@pytest.mark.parametrize(
    ("name", "values"),
    [("mean", (123.675, 116.28, 103.53)), ("std", (0.0, 0.2, 0.2)), ("std", (-0.2,) * 3), ("mean", (NAN,) * 3)],
)
def test_a_normalisation_on_another_scale(name, values, sources, state, tmp_path):
    with pytest.raises(UserError, match=f"{name} must be three numbers in"):
        convert_file(Conversion(sources[18], tmp_path / "out.pth", **{name: values}))
    torch.save({"state_dict": state, "input": json.dumps({"mean": [0.5], "std": [0.2]})}, tmp_path / "one.pth")
    with pytest.raises(UserError, match="one.pth: mean must be three"):
        load(tmp_path / "one.pth")
    assert not (tmp_path / "out.pth").exists()


def test_fields_that_are_no_json(state, tmp_path):
    for name, text in (("input", "0.5"), ("input", "{"), ("options", "[1]")):
        torch.save({"state_dict": state, name: text}, tmp_path / "a.pth")
        with pytest.raises(UserError, match=f"a.pth: its field '{name}' is not (valid JSON|a JSON object)"):
            load(tmp_path / "a.pth")


def test_former_names_of_plain_resnets(state):
    assert choose_arch(state, "tv_resnet18", "")[0] == "resnet18"
    assert choose_arch(state, "swsl_resnet18", "")[0] == "resnet18"
    assert choose_arch(state, "gluon_resnet18_v1b", "")[0] == "resnet18"
    with pytest.raises(UserError, match="gluon_resnet18_v1d has no equivalent"):
        choose_arch(state, "gluon_resnet18_v1d", "")


def test_parameters_without_buffers(state):
    """An average of parameters only looks like a network with GroupNorm."""
    bare = without(lively("resnet50").state_dict(), "running_mean", "running_var", "num_batches_tracked")
    with pytest.raises(UserError, match="no BatchNorm statistics.*--use raw"):
        choose_arch(bare, "resnet50", "")
    with pytest.raises(UserError, match="no BatchNorm statistics.*--arch resnet50_gn"):
        choose_arch(bare, "", "")


def test_the_classifier_is_kept_where_asked(state, tmp_path):
    """Detectron2's own classification ResNet gives timm's logits, to the bit."""
    from detectron2.modeling.backbone.resnet import BasicStem, ResNet

    source = lively("resnet50", num_classes=10).eval()
    out = convert(source.state_dict(), ARCHS["resnet50"], keep_fc=True)
    stages = ResNet.make_default_stages(50, norm="FrozenBN", stride_in_1x1=False)
    theirs = ResNet(BasicStem(norm="FrozenBN"), stages, num_classes=10).eval()
    assert theirs.load_state_dict(out, strict=True)
    images = torch.randn(2, 3, 96, 64)
    with torch.no_grad():
        assert torch.equal(theirs(images)["linear"], source(images))
    for ends in (("fc.weight", "fc.bias"), ("fc.bias",)):
        with pytest.raises(UserError, match="no classifier"):
            convert(without(state, *ends), ARCHS["resnet18"], keep_fc=True)


# ------------------------------------------------------------------------------------------------- refused files


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def raw(content):
    return lambda path: path.write_bytes(content)


REFUSED_FILES = {
    "whole_model": (lambda path: torch.save(timm.create_model("resnet18"), path), "needs Python code"),
    "code": (raw(pickle.dumps(Evil())), "needs Python code"),
    "code_in_a_pkl": (raw(pickle.dumps({"model": Evil()})), "needs Python code"),
    "arrays_in_a_pth": (lambda path: torch.save({"conv1.weight": np.ones(3)}, path), "NumPy arrays"),
    "list": (lambda path: torch.save([torch.ones(1)], path), "holds a list"),
    "no_weights": (lambda path: torch.save({"epoch": 3, "config": "x"}, path), "no weights.*config, epoch"),
    "numbered": (lambda path: torch.save({0: torch.ones(1)}, path), "no weights"),
    "nothing": (lambda path: torch.save({}, path), "no weights.*nothing"),
    "text": (raw(b"<html>404</html>"), "damaged|needs Python code"),
    "empty": (raw(b""), "damaged"),
    "half_a_zip": (
        lambda path: (torch.save({"a": torch.ones(10_000)}, path), path.write_bytes(path.read_bytes()[:9000])),
        "damaged",
    ),
    "half_a_pkl": (raw(pickle.dumps({"model": {"a": np.ones(1000)}}, protocol=4)[:500]), "damaged"),
    "half_a_safetensors": (raw(b"\x10\0\0\0\0\0\0\0{"), "damaged"),
}


@pytest.mark.parametrize("kind", REFUSED_FILES)
def test_refused_files(kind, tmp_path, capsys):
    make, message = REFUSED_FILES[kind]
    suffix = ".pkl" if "pkl" in kind else ".safetensors" if "safetensors" in kind else ".pth"
    make(tmp_path / f"in{suffix}")
    with pytest.raises(UserError, match=message):
        load(tmp_path / f"in{suffix}")
    assert "code ran" not in capsys.readouterr().out


def test_nothing_there(tmp_path):
    for path in (tmp_path, tmp_path / "no.pth"):
        with pytest.raises(UserError, match="not found"):
            load(path)


# ---------------------------------------------------------------------------------------------- refused networks


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18d", "deep stem"),
        ("resnet50d", "deep stem.*TimmBackbone"),
        ("resnet50s", "deep stem"),
        ("resnetrs50", "deep stem"),
        ("resnetaa50", "same tensors as resnet50 but averages"),
        ("resnetblur50", "same tensors as resnet50 but blurs"),
        ("resnetblur18", "same tensors as resnet18 but blurs"),
        ("seresnet50", "squeeze-and-excitation"),
        ("ecaresnet50t", "deep stem"),
        ("resnet26", "no equivalent"),
        ("resnet200", "no equivalent"),
        ("resnetv2_50", "pre-activation"),
        ("res2net50_26w_4s", "Res2Net"),
        ("skresnet18", "selective kernels|attention"),
        ("vit_tiny_patch16_224", "it is not a ResNet"),
        ("convnext_atto", "it is not a ResNet"),
        ("cifar_resnet18", "a CIFAR stem"),
    ],
)
def test_refused_networks(name, message):
    import networks  # noqa: F401

    with torch.device("meta"):
        sd = timm.create_model(name).state_dict()
    sd = {k: torch.ones(()).expand(v.shape) for k, v in sd.items()}
    with pytest.raises(UserError, match=message) as raised:
        choose_arch(sd, name, "")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("prefix", ["", "backbone.bottom_up."])
def test_a_converted_file_is_named_as_such_by_every_reader(state, prefix, tmp_path):
    torch.save({"model": prefixed(convert(state, ARCHS["resnet18"]), prefix)}, tmp_path / "d2.pth")
    for like in ((), state.keys()):
        with pytest.raises(UserError, match="already a Detectron2 checkpoint.*detection.reverse"):
            load(tmp_path / "d2.pth", like=like)


def test_every_refusal_of_a_network_has_its_own_sentence(state):
    from timm.layers import convert_splitbn_model

    grey = {**state, "conv1.weight": torch.ones(64, 1, 7, 7)}
    split = convert_splitbn_model(timm.create_model("resnet18"), 2).state_dict()
    caffe2 = {"conv1_w": torch.ones(1), "res2_0_branch2a_w": torch.ones(1)}
    truncated = {k: v for k, v in state.items() if not k.startswith("layer4")}
    found = set()
    for sd, message in (
        (grey, "1 input channels"),
        (split, "split BatchNorm"),
        (caffe2, "Caffe2"),
        (truncated, "no layer4.*truncated"),
    ):
        with pytest.raises(UserError, match=message) as raised:
            choose_arch(sd, "", "")
        found.add(str(raised.value))
    assert len(found) == 4


def test_twins_without_a_name_are_warned_of(state):
    assert "--arch" in choose_arch(state, "", "")[2]
    assert choose_arch(state, "", "resnet18")[2] == ""
    with pytest.raises(UserError, match="those of resnet18, not of resnet34.*--arch resnet18"):
        choose_arch(state, "resnet34", "")


def test_options_that_change_the_network_are_refused(state, tmp_path):
    """act_layer, aa_layer and output_stride leave every tensor as it is, and another network."""
    told = {"arch": "resnet18", "state_dict": state, "options": '{"act_layer": "silu", "drop_rate": 0.1}'}
    torch.save(told, tmp_path / "ours.pth")
    args = argparse.Namespace(model="resnet18", model_kwargs={"output_stride": 16})
    torch.save({"state_dict": state, "args": args}, tmp_path / "timm.pth")
    for name, option in (("ours", "act_layer"), ("timm", "output_stride")):
        with pytest.raises(UserError, match=option):
            load(tmp_path / f"{name}.pth")


def test_damaged_weights(state):
    arch = ARCHS["resnet18"]
    for change, message in (
        ({"layer1.0.bn1.weight": torch.full((64,), torch.nan)}, "not finite"),
        ({"layer1.0.bn1.running_mean": torch.full((64,), torch.inf)}, "not finite"),
        ({"layer1.0.bn1.running_var": torch.full((64,), -1.0)}, "negative variances"),
        ({"layer1.0.conv1.weight": torch.ones(64, 64, 3, 3, dtype=torch.int8)}, "before quantising"),
        ({"layer1.0.conv1.weight": torch.ones(64, 64, 3, 3).to_sparse()}, "sparse"),
        ({"layer1.0.conv1.weight": torch.ones(64, 64, 3, 3, device="meta")}, "meta"),
        ({"layer1.0.extra": torch.ones(1)}, "1 unknown"),
        ({"layer1.0.conv1.weight": torch.ones(64, 32, 3, 3)}, "1 of the wrong shape"),
        ({"layer1.0.downsample.0.weight": torch.ones(64, 64, 1, 1)}, "1 unexpected"),
    ):
        with pytest.raises(UserError, match=message):
            convert({**state, **change}, arch)
    with pytest.raises(UserError, match="1 missing"):
        convert(without(state, "layer4.1.bn2.bias"), arch)


# --------------------------------------------------------------------------------------------------- the command


def test_provenance_is_inside_both_forms(sources, tmp_path):
    import hashlib

    for suffix in (".pth", ".pkl"):
        out = tmp_path / f"out{suffix}"
        assert convert_file(Conversion(sources[18], out)) == 0
        tensors, made = read(out)
        assert len(tensors) == 100
        assert (made["arch"], made["depth"], made["augment"], made["weights"]) == (
            "resnet18",
            18,
            "KeepCutMix",
            "state_dict",
        )
        assert made["source_sha256"] == hashlib.sha256(sources[18].read_bytes()).hexdigest()
        assert made["tool"]["packages"]["torch"] == torch.__version__.split("+")[0]
        assert "command" not in made["tool"]
    content = torch.load(tmp_path / "out.pth", weights_only=True)
    zoo = pickle.loads((tmp_path / "out.pkl").read_bytes())
    assert content["matching_heuristics"]
    assert zoo["matching_heuristics"]
    assert all((zoo["model"][k] == v.numpy()).all() for k, v in content["model"].items())


def test_a_failed_verification_writes_nothing(sources, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.pth"
    out.write_bytes(b"an older file")
    monkeypatch.setattr("detection.checkpoints.convert_file.verify", lambda *a, **k: {"res2": 1e-7, "res5": 0.1})
    assert convert_file(Conversion(sources[18], out, verify=True)) == 1
    said = capsys.readouterr().out
    assert "FAILED" in said
    assert "Train" not in said
    assert out.read_bytes() == b"an older file"
    assert list(tmp_path.iterdir()) == [out]


def test_without_detectron2_it_says_what_was_not_verified(sources, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("detection.checkpoints.convert_file.is_installed", lambda: False)
    assert convert_file(Conversion(sources[18], tmp_path / "out.pth", verify=True)) == 0
    said = capsys.readouterr().out
    assert "NOT verified" in said
    assert "verified\n" not in said


def test_outputs_that_make_no_sense(sources, tmp_path):
    with pytest.raises(UserError, match="must end in .pth or .pkl"):
        convert_file(Conversion(sources[18], tmp_path / "out.onnx"))
    with pytest.raises(UserError, match="the checkpoint itself"):
        convert_file(Conversion(sources[18], sources[18]))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        convert_file(Conversion(sources[18], tmp_path / "file" / "out.pth"))


def test_the_printed_command_carries_what_the_config_lacks(tmp_path, capsys):
    """The keys that differ from the row's YAML are overrides, and Detectron2 knows them."""
    source = tmp_path / "x.pth"
    torch.save(lively("resnext50_32x4d").state_dict(), source)
    convert_file(Conversion(source, tmp_path / "out.pth", arch="resnext50_32x4d", mean=(0.5,) * 3, std=(0.5,) * 3))
    line = shlex.split(capsys.readouterr().out.strip().splitlines()[-1])
    words = dict(itertools.pairwise(line))
    assert words["MODEL.RESNETS.NUM_GROUPS"] == "32"
    assert words["MODEL.RESNETS.WIDTH_PER_GROUP"] == "4"
    assert words["MODEL.PIXEL_MEAN"] == "[127.5,127.5,127.5]"
    assert "MODEL.RESNETS.DEPTH" not in words
    assert Path(words["--config-file"]).is_file()
    assert Path(words["python"]).name == "train_net.py"
    from detection.detectors.check import check

    options = line[line.index("MODEL.WEIGHTS") :]
    problems, _ = check(Path(words["--config-file"]), tmp_path / "out.pth", options)
    assert problems == []


@pytest.mark.slow
def test_command(state, tmp_path):
    """Exit codes, both output forms, provenance, no file after a refusal, one line on stderr."""
    metadata = {"arch": "resnet18", "input": json.dumps({"mean": [0.5] * 3, "std": [0.25] * 3})}
    torch.save({**metadata, "state_dict": state}, tmp_path / "in.pth")
    said = command(TOOL, tmp_path / "in.pth", tmp_path / "out.pth", "--verify")
    assert "verified" in said
    assert "127.5" in said
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    torch.save(timm.create_model("resnet18d").state_dict(), tmp_path / "deep.pth")
    for name, message in (("evil", "state_dict()"), ("deep", "deep stem"), ("none", "not found")):
        said = command(TOOL, tmp_path / f"{name}.pth", tmp_path / "refused.pth", code=2)
        assert message in said
        assert "code ran" not in said
        assert said.count("\n") == 1
    assert command(TOOL, tmp_path / "in.pth", code=2).count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep.pth", "evil.pth", "in.pth", "out.pth"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "resnet101", "resnext50_32x4d", "resnet50_gn", "resnet34"])
def test_features_through_detectron2_equal_timms(name, tmp_path):
    from detection.checkpoints.write import write
    from detection.detectors.verify import verify

    source = lively(name, num_classes=10).state_dict()
    weights = tmp_path / "w.pth"
    write(convert(source, ARCHS[name]), weights, {})
    found = verify(source, name, ARCHS[name], weights, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    assert len(found) == (5 if ARCHS[name].bottleneck else 4)
    assert max(found.values()) < 1e-5
    if name != "resnet50":
        return
    wrong = dict(source)
    wrong["layer3.0.conv2.weight"] = source["layer3.0.conv2.weight"] * 1.01
    found = verify(wrong, name, ARCHS[name], weights, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    assert found["res3"] < 1e-5 < found["res4"]
    wrong = {**source, "layer4.0.conv2.weight": source["layer4.0.conv2.weight"] * 1.01}
    assert verify(wrong, name, ARCHS[name], weights, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))["res5, C4 head"] > 1e-5
