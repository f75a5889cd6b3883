"""What an outside attack found: each gets one clear line, or the right numbers."""

import json
import os
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from engine import checkpoint
from engine.errors import UserError
from imagesets.readers import read_rgb
from reid import compare, evaluate, export, extract, search, train
from reid.config import Protocol
from reid.dataset_layouts import csv_file
from reid.evaluation.features import load_features, make_features, warnings
from reid.evaluation.report import evaluate_features


def arrays(seed=0, queries=20, gallery=80, width=16):
    rng = np.random.default_rng(seed)
    return {
        "query_features": rng.standard_normal((queries, width)).astype(np.float32),
        "gallery_features": rng.standard_normal((gallery, width)).astype(np.float32),
        "query_ids": rng.integers(1, 6, queries),
        "gallery_ids": rng.integers(1, 6, gallery),
        "query_cams": rng.integers(1, 4, queries),
        "gallery_cams": rng.integers(1, 4, gallery),
    }


def features_of(a):
    names = ("query_features", "gallery_features", "query_ids", "gallery_ids", "query_cams", "gallery_cams")
    return make_features(*(a[name] for name in names))


def mean_ap(a, **protocol):
    return evaluate_features(features_of(a), Protocol(resamples=0, **protocol)).numbers["mAP"]


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "f.npz", **arrays())
    return tmp_path / "f.npz"


@pytest.fixture(scope="module")
def run(demo, tmp_path_factory):
    output = tmp_path_factory.mktemp("reid") / "run"
    argv = ["--config", "demo_plain", "--data.dataset", "demo", "--data.root", str(demo), "--output", str(output)]
    argv += ["--data.height", "32", "--data.width", "16", "--data.identities", "2", "--data.images", "2"]
    assert train.main([*argv, "--data.workers", "0", "--device", "cpu", "--max_steps", "1"]) == 0
    return output


def refused(capsys, code, message):
    said = capsys.readouterr().err.strip()
    assert code == 2
    assert message in said
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1, said


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_the_scale_of_features_changes_nothing(metric, scale):
    small, large = arrays(), arrays()
    for name in ("query_features", "gallery_features"):
        large[name] = (large[name].astype(np.float64) * scale).astype(np.float32)
    assert mean_ap(large, metric=metric) == pytest.approx(mean_ap(small, metric=metric), abs=1e-3)


def test_an_offset_changes_no_euclidean_distance():
    near, far = arrays(), arrays()
    for name in ("query_features", "gallery_features"):
        near[name] = near[name].round(2)
        far[name] = near[name] + np.float32(1000)
    assert mean_ap(far, metric="euclidean") == pytest.approx(mean_ap(near, metric="euclidean"), abs=0.05)


def test_unreachable_false_positive_rates_are_left_out():
    a = arrays()
    a["query_features"][:] = a["gallery_features"][:] = 1.0
    report = evaluate_features(features_of(a), Protocol(resamples=0))
    assert not any(name.startswith("tpr_at") for name in report.numbers)
    assert any("no threshold reaches a false-positive rate of 0.0001" in remark for remark in report.remarks)


def test_the_same_photograph_in_query_and_gallery_is_told():
    a = arrays()
    assert not any("bit for bit" in remark for remark in warnings(features_of(a)))
    a["gallery_features"][7] = a["query_features"][3]
    assert any("1 query features" in r and "(query 3 is gallery 7)" in r for r in warnings(features_of(a)))


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("query_ids", np.full(20, np.inf), "query_ids must be integers below 2^62, got e.g. inf"),
        ("query_ids", np.full(20, 1e30), "below 2^62"),
        ("query_ids", np.full(20, 2**64 - 1, np.uint64), "below 2^62"),
        ("query_ids", np.full(20, np.nan), "got e.g. nan"),
        ("query_features", np.zeros((20, 16), np.longdouble), "matrix of floats, got"),
        ("query_features", np.zeros((20, 16), "U3"), "matrix of floats, got <U3"),
        ("query_features", np.full((20, 16), 1e300), "beyond float32"),
    ],
)
def test_odd_arrays(name, values, message, tmp_path, capsys):
    np.savez(tmp_path / "f.npz", **(arrays() | {name: values}))
    refused(capsys, evaluate.main(["--features", str(tmp_path / "f.npz")]), message)


def test_big_endian_features_are_read(tmp_path):
    a = arrays()
    np.savez(tmp_path / "f.npz", **(a | {"query_features": a["query_features"].astype(">f4")}))
    assert np.array_equal(load_features(tmp_path / "f.npz").query_QD.numpy(), a["query_features"])


def test_files_that_are_no_npz(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as made:
        for name in arrays():
            made.writestr(f"{name}.npy", "text")
    np.savez(tmp_path / "c.npz", **(arrays() | {"query_ids": np.array([{}] * 20, object)}))
    for name in "abc":
        code = evaluate.main(["--features", str(tmp_path / f"{name}.npz")])
        refused(capsys, code, f"{name}.npz")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--resamples", "-1"], "resamples must be at least 0"),
        (["--single_shot", "-1"], "single_shot must be at least 0"),
        (["--seed", "-1"], "seed must be at least 0"),
        (["--k1", "0"], "k1 must be at least 1"),
        (["--rerank_weight", "2"], "rerank_weight must be in [0, 1]"),
        (["--batch_size", "0"], "batch_size must be at least 1"),
        (["--flip", "true"], "flip has no effect with --features: remove it"),
        (["--root", "x"], "root has no effect"),
        (["--picture", "x.xyz"], "must end in .png"),
        (["--json_file", "/dev/null"], "not a regular file"),
        (["--json_file", "/proc/nowhere/x.json"], "cannot write"),
    ],
)
def test_options_are_checked_before_the_work(argv, message, file, capsys):
    refused(capsys, evaluate.main(["--features", str(file), *argv]), message)


def test_outputs_spare_inputs_devices_and_links(file, tmp_path, capsys):
    before = file.read_bytes()
    code = evaluate.main(["--features", str(file), "--json_file", str(file)])
    refused(capsys, code, "also read or written by this command")
    assert file.read_bytes() == before
    os.mkfifo(tmp_path / "pipe")
    code = evaluate.main(["--features", str(file), "--json_file", str(tmp_path / "pipe")])
    refused(capsys, code, "not a regular file")
    (tmp_path / "target.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "target.json")
    assert evaluate.main(["--features", str(file), "--json_file", str(tmp_path / "link.json")]) == 0
    assert json.loads((tmp_path / "target.json").read_text())["mAP"] > 0
    assert (tmp_path / "link.json").is_symlink()


def test_comparing_writes_its_json_and_refuses_what_it_cannot_do(file, tmp_path, capsys):
    np.savez(tmp_path / "g.npz", **(arrays() | {"query_features": arrays(1)["query_features"]}))
    pair = [str(file), str(tmp_path / "g.npz")]
    assert compare.main([*pair, "--json_file", str(tmp_path / "out.json")]) == 0
    assert "mAP" in json.loads((tmp_path / "out.json").read_text())
    capsys.readouterr()
    refused(capsys, compare.main([*pair, "--page", str(tmp_path / "p.html")]), "unknown option --page")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.zeros(4, np.float32)}, "is damaged"),
        ({"features": np.zeros((4, 512), np.float64)}, "is damaged"),
        ({"features": np.full((4, 512), np.nan, np.float32)}, "is damaged"),
        ({"paths": np.array(["a"])}, "is damaged"),
        ({"network": np.array("0" * 16)}, "of another network"),
        ({"flip": np.array(True)}, "extracted with --flip true"),
        ({"paths": None}, "was not written by reid.extract"),
    ],
)
def test_damaged_galleries(change, message, run, demo, tmp_path, capsys):
    photos = sorted((demo / "reid" / "query").glob("*.jpg"))[:4]
    (tmp_path / "few").mkdir()
    for photo in photos:
        (tmp_path / "few" / photo.name).write_bytes(photo.read_bytes())
    assert extract.main([str(run), str(tmp_path / "few"), str(tmp_path / "g.npz"), "--device", "cpu"]) == 0
    with np.load(tmp_path / "g.npz") as made:
        content = dict(made) | change
    np.savez(tmp_path / "g.npz", **{name: value for name, value in content.items() if value is not None})
    capsys.readouterr()
    refused(capsys, search.main([str(run), str(photos[0]), str(tmp_path / "g.npz"), "--device", "cpu"]), message)


def test_places_that_do_not_exist(run, tmp_path, capsys):
    code = extract.main([str(run), "/nowhere", str(tmp_path / "x.npz")])
    refused(capsys, code, "/nowhere not found")
    refused(capsys, export.main([str(run), str(tmp_path)]), "must end in .onnx")
    (tmp_path / "x.onnx").mkdir()
    refused(capsys, export.main([str(run), str(tmp_path / "x.onnx")]), "not a regular file")


def test_damaged_checkpoints(run, tmp_path, capsys):
    path = tmp_path / "x.pth"
    whole = bytearray((run / "last.pth").read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 4000] = bytes(4000)
    path.write_bytes(whole)
    refused(capsys, evaluate.main([str(path)]), "is damaged")
    for text in ("hello", "root:x:0:0:root:/root:/bin/bash\n", "# A readme\n"):
        path.write_text(text)
        refused(capsys, evaluate.main([str(path)]), "x.pth")
    content = checkpoint.load(run / "last.pth")
    for name, value in {"num_classes": "7", "epoch": None, "config": 3, "state_dict": []}.items():
        torch.save(content | {name: value}, path)
        refused(capsys, evaluate.main([str(path)]), f"is damaged: its {name!r}")
        torch.save({k: v for k, v in content.items() if k != name}, path)
        refused(capsys, evaluate.main([str(path)]), f"has no {name!r}")


def test_weights_that_are_no_numbers(run, demo, tmp_path, capsys):
    content = checkpoint.load(run / "last.pth")
    key = "state_dict_ema" if "state_dict_ema" in content else "state_dict"
    state = {k: torch.full_like(v, float("nan")) if "conv1" in k else v for k, v in content[key].items()}
    torch.save(content | {key: state}, tmp_path / "x.pth")
    code = extract.main([str(tmp_path / "x.pth"), str(demo / "reid" / "query"), str(tmp_path / "x.npz")])
    refused(capsys, code, "features are not finite")
    assert not (tmp_path / "x.npz").exists()


def test_pictures_of_all_kinds(tmp_path):
    grey = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey16.png")
    mean = np.asarray(read_rgb(tmp_path / "grey16.png")).mean()
    assert 120 < mean < 135
    header = bytearray((tmp_path / "grey16.png").read_bytes())
    header[16:24] = (60_000).to_bytes(4, "big") * 2
    (tmp_path / "bomb.png").write_bytes(header)
    with pytest.raises(UserError, match=r"cannot read the image .*bomb\.png"):
        read_rgb(tmp_path / "bomb.png")


def test_tables(tmp_path):
    rows = "".join(f"{part},{part}{i}.jpg,{i}\n" for part in ("train", "query", "gallery") for i in range(2))
    (tmp_path / "bom.csv").write_text("\ufeffpart,path,person\n" + rows, encoding="utf-8")
    assert len(csv_file(tmp_path / "bom.csv").query) == 2
    (tmp_path / "more.csv").write_text("part,path,person\n" + rows + "query,a.jpg,1,surplus\n")
    with pytest.raises(UserError, match="line 8: the number of fields differs"):
        csv_file(tmp_path / "more.csv")
    (tmp_path / "latin.csv").write_bytes(b"part,path,person\nquery,caf\xe9.jpg,1\n")
    with pytest.raises(UserError, match=r"latin\.csv cannot be read as UTF-8"):
        csv_file(tmp_path / "latin.csv")
    (tmp_path / "long.csv").write_text("part,path,person\n" + "x" * 200_000 + ",a,b\n")
    with pytest.raises(UserError, match=r"long\.csv cannot be read"):
        csv_file(tmp_path / "long.csv")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--loss.label_smoothing", "2"], "loss.label_smoothing must be in [0, 1], got 2"),
        (["--loss.margin", "-1"], "loss.margin must be at least 0"),
        (["--log_every", "0"], "log_every must be at least 1"),
        (["--eval_every", "0"], "eval_every must be at least 1"),
        (["--epochs", "0"], "epochs must be at least 1"),
        (["--max_steps", "-1"], "max_steps must be at least 0"),
        (["--ema_decay", "2"], "ema_decay must be in [0, 1]"),
        (["--data.images", "1"], "data.images must be at least 2"),
        (["--data.hflip", "2"], "data.hflip must be in [0, 1]"),
        (["--data.eval_batch_size", "0"], "data.eval_batch_size must be at least 1"),
        (["--optim.lr", "-1"], "optim.lr must be at least 0"),
    ],
)
def test_training_options(argv, message, demo, tmp_path, capsys):
    base = ["--config", "demo_plain", "--data.dataset", "demo", "--data.root", str(demo), "--device", "cpu"]
    refused(capsys, train.main([*base, "--output", str(tmp_path / "run"), *argv]), message)
    assert not (tmp_path / "run").exists()


def test_a_run_that_failed_before_its_first_epoch_may_be_started_again(tmp_path):
    from engine.config import TrainingConfig
    from engine.run_folder import RunFolder

    config = TrainingConfig(output=str(tmp_path / "run"))
    for _ in range(2):
        RunFolder(tmp_path / "run").open(config)
    folder = RunFolder(tmp_path / "run")
    folder.log({"epoch": 1, "loss": 1.0}, 1)
    with pytest.raises(UserError, match="already holds a run"):
        RunFolder(tmp_path / "run").open(config)
