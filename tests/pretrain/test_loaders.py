import io
import json
import tarfile

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from engine.errors import UserError
from engine.loader import shuffled
from imagesets.classification import Records
from imagesets.crop import crop_flip
from pretrain import train
from pretrain.config import Config, Data, Policy
from pretrain.data import open_source, synthetic_source
from pretrain.loaders import build_loader, is_resident, resident_loader


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def records():
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    return Records(images, list(range(20)))


def loader_of(records, batch, rank=0, processes=1):
    plan = shuffled(20, batch, 5, rank=rank, processes=processes)
    return resident_loader(records, plan, 5, device=torch.device("cpu"), padding=2, hflip=0.5)


def test_crop_and_flip_against_a_loop():
    images = torch.randint(256, (5, 3, 9, 10), dtype=torch.uint8)
    index = torch.tensor([4, 0, 4, 2])
    offsets = torch.tensor([[0, 0], [1, 2], [3, 1], [2, 2]])
    flips = torch.tensor([True, False, False, True])
    got = crop_flip(images, index, offsets, flips, (6, 7))
    for i in range(4):
        top, left = offsets[i].tolist()
        window = images[index[i], :, top : top + 6, left : left + 7]
        assert torch.equal(got[i], window.flip(2) if flips[i] else window)


def test_resident_batches_are_crops_of_their_images(records):
    loader = loader_of(records, 4)
    loader.set_epoch(1)
    seen = []
    for (images,), labels in loader:
        assert images.dtype == torch.uint8
        for image, label in zip(images, labels.tolist(), strict=True):
            padded = F.pad(torch.from_numpy(records.images_NHWC[label]).permute(2, 0, 1), (2,) * 4)
            windows = [padded[:, y : y + 8, x : x + 8] for y in range(5) for x in range(5)]
            assert any(torch.equal(image, w) or torch.equal(image, w.flip(2)) for w in windows)
            seen.append(label)
    assert sorted(seen) == list(range(20))


def test_resident_draws_depend_on_seed_epoch_and_index_only(records):
    def epoch(loader, number, skip=0):
        loader.set_epoch(number, skip)
        pairs = [(images, labels) for (images,), labels in loader]
        return torch.cat([p[0] for p in pairs]), torch.cat([p[1] for p in pairs])

    whole = epoch(loader_of(records, 4), 2)
    assert torch.equal(epoch(loader_of(records, 4), 2, skip=2)[0], whole[0][8:])
    assert not torch.equal(epoch(loader_of(records, 4), 3)[0], whole[0])
    parts = [epoch(loader_of(records, 4, rank, 2), 2) for rank in (0, 1)]
    together = torch.cat([p[1].view(-1, 2) for p in parts], 1).flatten()
    assert torch.equal(together, whole[1])
    images = torch.cat([p[0].view(5, 2, 3, 8, 8) for p in parts], 1).flatten(0, 1)
    assert torch.equal(images, whole[0])


def test_what_can_be_resident(records):
    small = Data(image_size=8, crop="pad")
    assert is_resident(small, Policy(), records)
    assert not is_resident(small, Policy(name="randaugment"), records)
    assert not is_resident(Data(image_size=8, crop="pad", resident="no"), Policy(), records)
    assert not is_resident(Data(image_size=9, crop="pad"), Policy(), records)
    with pytest.raises(UserError, match="policy.name runs in the data workers"):
        is_resident(Data(image_size=8, resident="yes"), Policy(name="randaugment"), records)
    with pytest.raises(UserError, match="must be one of auto, yes, no"):
        is_resident(Data(resident="maybe"), Policy(), records)


def test_a_corrupt_image_is_named_or_skipped(tmp_path, class_folders, capsys):
    import shutil

    root = tmp_path / "data"
    shutil.copytree(class_folders, root)
    victims = [next((root / part / "3").glob("*.jpg")) for part in ("train", "val")]
    for victim in victims:
        victim.write_bytes(victim.read_bytes()[:200])
    argv = ["--data.dataset", "folder", "--data.root", str(root), "--data.batch_size", "8", "--data.workers", "0"]
    argv += ["--device", "cpu", "--model.name", "wrn_10_1", "--epochs", "1", "--data.image_size", "16"]
    assert train.main([*argv, "--output", str(tmp_path / "a")]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert victims[0].name in error
    assert "on_corrupt skip" in error
    assert train.main([*argv, "--output", str(tmp_path / "b"), "--data.on_corrupt", "skip"]) == 0
    said = capsys.readouterr().err
    assert all(victim.name in said for victim in victims)
    (row,) = rows(tmp_path / "b")
    assert row["corrupt_share"] == pytest.approx(1 / 40)
    assert row["top1"] * 19 % 100 == pytest.approx(0, abs=1e-3)  # 19 of 20 validation images count
    assert train.main([*argv, "--output", str(tmp_path / "c"), "--data.on_corrupt", "ignore"]) == 2
    assert "fail, skip" in capsys.readouterr().err


def test_synthetic_images(tmp_path):
    source = synthetic_source(Data(image_size=224, crop="resized"))
    assert (len(source.train), len(source.classes)) == (50_000, 1000)
    image, label = source.train[49_999]
    assert image.size == (256, 256)
    assert 0 <= label < 1000
    argv = ["--config", "table1/keepcutout-resnet-18", "--synthetic", "--max_steps", "1", "--device", "cpu"]
    argv += ["--model.name", "wrn_10_1", "--data.batch_size", "4", "--data.workers", "0"]
    assert train.main([*argv, "--output", str(tmp_path / "run")]) == 0
    assert rows(tmp_path / "run")[0]["images_per_second"] > 0


@pytest.fixture
def shards(tmp_path, class_folders):
    """The folders' images as two WebDataset shards per part, with timm's _info.json."""
    splits = {}
    for part, name in (("train", "train"), ("val", "validation")):
        files = sorted((class_folders / part).rglob("*.jpg"))
        lengths, names = [], []
        for number in range(2):
            chosen = files[number::2]
            names.append(f"{part}-{number}.tar")
            lengths.append(len(chosen))
            with tarfile.open(tmp_path / names[-1], "w") as tar:
                for index, path in enumerate(chosen):
                    for suffix, content in ((".jpg", path.read_bytes()), (".cls", path.parent.name.encode())):
                        member = tarfile.TarInfo(f"{number}{index:05d}{suffix}")
                        member.size = len(content)
                        tar.addfile(member, io.BytesIO(content))
        info = {"name": name, "num_samples": len(files), "filenames": names, "shard_lengths": lengths}
        splits[name] = info
    (tmp_path / "_info.json").write_text(json.dumps({"splits": splits}))
    return tmp_path


def test_webdataset_shards(shards, tmp_path, capsys):
    argv = ["--data.dataset", "wds/", "--data.root", str(shards), "--data.batch_size", "8", "--data.workers", "1"]
    argv += ["--device", "cpu", "--model.name", "wrn_10_1", "--epochs", "2", "--data.image_size", "16"]
    assert train.main([*argv, "--output", str(tmp_path / "run")]) == 2
    assert "set --data.num_classes" in capsys.readouterr().err
    assert train.main([*argv, "--data.num_classes", "10", "--output", str(tmp_path / "run")]) == 0
    last = rows(tmp_path / "run")[-1]
    assert last["step"] == 10
    assert last["top1"] * 20 % 100 == pytest.approx(0, abs=1e-3)
    assert train.main([*argv, "--data.num_classes", "10", "--data.train_split", "nothing", "--overwrite"]) == 2
    assert "timm cannot open wds/" in capsys.readouterr().err


def test_a_batch_that_does_not_fit_the_stream(shards):
    data = Data(dataset="wds/", root=str(shards), num_classes=10, batch_size=100, workers=1)
    source = open_source(data, 1)
    with pytest.raises(UserError, match="lower data.batch_size"):
        build_loader(Config(data=data), source.train, torch.device("cpu"), 0, 1)
