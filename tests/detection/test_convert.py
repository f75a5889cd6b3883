"""The converter: every accepted form gives the same tensors, every foreign network its own sentence."""

import argparse
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from detection.arch import ARCHS, expected_shapes
from detection.convert import choose_arch, convert
from detection.load import load
from keepcore.run.errors import UserError

TOOL = Path(__file__).parents[2] / "tools" / "convert_to_d2.py"


def lively(name, **options):
    """A network whose BatchNorm statistics are not the trivial ones."""
    torch.manual_seed(1)
    model = timm.create_model(name, **options)
    for key, value in model.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif key.endswith("running_mean"):
            value.normal_(0, 0.2)
        elif "bn" in key and key.endswith("weight"):
            value.uniform_(0.5, 1.5)  # timm starts the last one of a block at zero: its branch would not show
    return model


@pytest.fixture(scope="module")
def state():
    return lively("resnet18", num_classes=10).state_dict()


def test_counts_and_names():
    assert len(expected_shapes(ARCHS["resnet50"])) == 265
    assert len(expected_shapes(ARCHS["resnet101"])) == 520


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet34", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "resnet50_gn"]
)
def test_shapes_are_those_of_timm(name):
    with torch.device("meta"):
        sd = timm.create_model(name).state_dict()
    sd = {k: torch.ones(v.shape) for k, v in sd.items()}
    found, arch, warning = choose_arch(sd, name, "")
    assert (found, arch, warning) == (name, ARCHS[name], "")
    out = convert(sd, arch)
    assert {k: tuple(v.shape) for k, v in out.items()} == expected_shapes(arch)


FORMS = {
    "bare": lambda sd: sd,
    "timm": lambda sd: {"arch": "resnet18", "state_dict": sd, "args": argparse.Namespace(model="resnet18")},
    "torchvision": lambda sd: {"model": sd, "epoch": 3},
    "ddp": lambda sd: {f"module.{k}": v for k, v in sd.items()},
    "compiled": lambda sd: {f"_orig_mod.{k}": v for k, v in sd.items()},
    "ddp_compiled": lambda sd: {f"module._orig_mod.{k}": v for k, v in sd.items()},
    "compiled_ddp": lambda sd: {f"_orig_mod.module.{k}": v for k, v in sd.items()},
    "averaged": lambda sd: {"n_averaged": torch.tensor(3), **{f"module.{k}": v for k, v in sd.items()}},
    "lightning": lambda sd: {"state_dict": {f"model.{k}": v for k, v in sd.items()}, "epoch": 1},
    "backbone_and_head": lambda sd: {"head.weight": torch.ones(2), **{f"backbone.{k}": v for k, v in sd.items()}},
    "no_fc": lambda sd: {k: v for k, v in sd.items() if not k.startswith("fc.")},
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form, state, tmp_path):
    path = tmp_path / "in.pth.tar"
    torch.save(FORMS[form](state), path)
    loaded = load(path)
    out = convert(loaded.state, ARCHS["resnet18"])
    want = convert(state, ARCHS["resnet18"])
    assert all(torch.equal(out[k], want[k]) for k in want)


def test_safetensors_and_half_precision(state, tmp_path):
    half = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    save_file(
        {k: v.contiguous() for k, v in half.items()}, tmp_path / "in.safetensors", {"arch": "resnet18.a1_in1k"}
    )
    loaded = load(tmp_path / "in.safetensors")
    assert loaded.arch == "resnet18"
    out = convert(loaded.state, ARCHS["resnet18"])
    assert all(v.dtype == torch.float32 for v in out.values())
    assert torch.equal(out["stem.conv1.weight"], state["conv1.weight"].half().float())


def test_the_choice_of_averaged_weights_is_told(state, tmp_path):
    other = {k: v + 1 for k, v in state.items()}
    torch.save({"state_dict": state, "state_dict_ema": other}, tmp_path / "a.pth")
    auto, raw, ema = (load(tmp_path / "a.pth", use) for use in ("auto", "raw", "ema"))
    assert "averaged" in auto.notes[0]
    assert auto.key == ema.key == "state_dict_ema"
    assert raw.key == "state_dict"
    torch.save({"state_dict": state}, tmp_path / "b.pth")
    with pytest.raises(UserError, match="has no ema weights.*state_dict"):
        load(tmp_path / "b.pth", "ema")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet18d", "deep stem"),
        ("resnet50d", "deep stem"),
        ("resnetaa50", "resnetaa50 has no equivalent"),
        ("resnetblur50", "anti-aliasing|no equivalent"),
        ("seresnet50", "squeeze-and-excitation"),
        ("ecaresnet50t", "deep stem"),
        ("resnet26", "no equivalent|no depth"),
        ("resnetv2_50", "stages|no conv1"),
        ("res2net50_26w_4s", "Res2Net"),
        ("vit_tiny_patch16_224", "not a ResNet"),
        ("cifar_resnet18", "the stem is"),
    ],
)
def test_refusals(name, message):
    import networks  # noqa: F401

    with torch.device("meta"):
        sd = timm.create_model(name).state_dict()
    sd = {k: torch.ones(v.shape) for k, v in sd.items()}
    with pytest.raises(UserError, match=message):
        choose_arch(sd, name, "")


def test_damaged_weights(state):
    arch = ARCHS["resnet18"]
    for change, message in (
        ({"layer1.0.bn1.weight": torch.full((64,), torch.nan)}, "not finite"),
        ({"layer1.0.bn1.running_var": torch.full((64,), -1.0)}, "negative variances"),
        ({"layer1.0.extra": torch.ones(1)}, "1 unknown"),
        ({"layer1.0.conv1.weight": torch.ones(64, 32, 3, 3)}, "1 of another shape"),
    ):
        with pytest.raises(UserError, match=message):
            convert({**state, **change}, arch)
    with pytest.raises(UserError, match="1 missing"):
        convert({k: v for k, v in state.items() if k != "layer4.1.bn2.bias"}, arch)
    with pytest.raises(UserError, match="already is a Detectron2"):
        choose_arch(convert(state, arch), "", "")
    with pytest.raises(UserError, match="those of resnet18, not of resnet34"):
        choose_arch(state, "resnet34", "")
    assert "--arch" in choose_arch(state, "", "")[2]


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


@pytest.mark.slow
def test_command(state, tmp_path):
    """Exit codes, both output forms, provenance, no file after a refusal, --help without torch."""
    torch.save(
        {"arch": "resnet18", "state_dict": state, "input": json.dumps({"mean": [0.5] * 3, "std": [0.25] * 3})},
        tmp_path / "in.pth",
    )

    def run(*argv):
        return subprocess.run(
            [sys.executable, str(TOOL), *map(str, argv)], capture_output=True, text=True, cwd=tmp_path, check=False
        )

    done = run("in.pth", "out.pth", "--verify")
    assert done.returncode == 0, done.stderr
    assert "verified" in done.stdout
    assert "127.5" in done.stdout
    content = torch.load(tmp_path / "out.pth", weights_only=True)
    made = json.loads(content["keepaugment"])
    assert (made["arch"], made["weights"], len(made["source_sha256"])) == ("resnet18", "state_dict", 64)
    assert run("in.pth", "out.pkl").returncode == 0
    zoo = pickle.loads((tmp_path / "out.pkl").read_bytes())
    assert zoo["matching_heuristics"]
    assert (zoo["model"]["stem.conv1.weight"] == content["model"]["stem.conv1.weight"].numpy()).all()
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "torn.pth").write_bytes((tmp_path / "in.pth").read_bytes()[:5000])
    torch.save(timm.create_model("resnet18d").state_dict(), tmp_path / "deep.pth")
    for name, message in (
        ("evil", "state_dict()"),
        ("torn", "damaged"),
        ("deep", "deep stem"),
        ("none", "no file"),
    ):
        done = run(f"{name}.pth", "refused.pth")
        assert done.returncode == 2
        assert message in done.stderr
        assert "code ran" not in done.stdout
        assert done.stderr.count("\n") == 1
    assert run("in.pth", "out.onnx").returncode == 2
    assert not list(tmp_path.glob("*refused*"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "resnext50_32x4d"])
def test_features_through_detectron2_equal_timms(name, tmp_path):
    from detection.verify import verify
    from detection.write import write

    source = lively(name, num_classes=10).state_dict()
    weights = tmp_path / "w.pth"
    write(convert(source, ARCHS[name]), weights, {})
    found = verify(source, name, ARCHS[name], weights, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    assert max(found.values()) < 1e-5
    wrong = dict(source)
    wrong["layer3.0.conv2.weight"] = source["layer3.0.conv2.weight"] * 1.01
    found = verify(wrong, name, ARCHS[name], weights, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    assert found["res3"] < 1e-5 < found["res4"]
