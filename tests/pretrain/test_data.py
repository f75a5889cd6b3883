import numpy as np
import pytest
import torch
from PIL import Image

from engine.errors import UserError
from pretrain.config import Data, Policy
from pretrain.data import Transformed, eval_transform, open_source, train_transform


def test_cifar_binary_and_folder_layouts(tmp_path, class_folders):
    root = tmp_path / "cifar-10-batches-bin"
    root.mkdir()
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (7, 3073)).astype(np.uint8)
    rows[:, 0] = np.arange(7)
    for name in ("data_batch_1", "data_batch_2", "test_batch"):
        rows.tofile(root / f"{name}.bin")
    (root / "batches.meta.txt").write_text("\n".join(f"c{i}" for i in range(10)))
    source = open_source(Data(dataset="cifar10", root=str(tmp_path)))
    assert (len(source.train), len(source.val), len(source.classes)) == (14, 7, 10)
    image, label = source.train[9]
    assert label == 2
    assert np.array_equal(np.asarray(image), rows[2, 1:].reshape(3, 32, 32).transpose(1, 2, 0))
    folder = open_source(Data(dataset="cifar10", root=str(class_folders)))
    assert (len(folder.train), len(folder.val)) == (40, 20)
    rows[:3].reshape(-1)[:-5].tofile(root / "test_batch.bin")
    with pytest.raises(UserError, match="truncated"):
        open_source(Data(dataset="cifar10", root=str(tmp_path)))


def test_wrong_layouts(tmp_path, class_folders):
    with pytest.raises(UserError, match="must hold train/ and val/"):
        open_source(Data(dataset="folder", root=str(tmp_path)))
    with pytest.raises(UserError, match="no CIFAR-10"):
        open_source(Data(dataset="cifar10", root=str(tmp_path)))
    with pytest.raises(ValueError, match="data.dataset must be one of demo"):
        open_source(Data(dataset="cifar11"))
    for part, name in (("train", "cat"), ("val", "dog")):
        (tmp_path / part / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / part / name / "a.png")
    with pytest.raises(UserError, match="only one of its parts has: cat, dog"):
        open_source(Data(dataset="folder", root=str(tmp_path)))


def test_a_damaged_image_is_named(tmp_path, class_folders):
    path = tmp_path / "broken.jpg"
    path.write_bytes(next(class_folders.rglob("*.jpg")).read_bytes()[:300])
    from imagesets.readers import read_rgb

    with pytest.raises(UserError, match="broken.jpg"):
        read_rgb(path)


@pytest.mark.parametrize("order", ["after_crop", "before_crop"])
@pytest.mark.parametrize("crop", ["pad", "resized"])
def test_both_views_show_the_same_crop(class_folders, order, crop):
    """With an augmentation that changes nothing (N = 0) the two views are equal, pixel for pixel."""
    source = open_source(Data(dataset="folder", root=str(class_folders)))
    data = Data(image_size=24, crop=crop, jitter=0.0)
    transform = train_transform(data, Policy(name="randaugment", num_ops=0, order=order))
    dataset = Transformed(source.train, transform)
    for index in range(5):
        (clean, augmented), _ = dataset[index]
        assert clean.dtype == torch.uint8
        assert clean.shape == (3, 24, 24)
        assert torch.equal(clean, augmented)
    assert not torch.equal(dataset[0][0][0], dataset[0][0][0])


def test_evaluation_crops_the_centre():
    image = Image.new("RGB", (80, 40))
    image.putpixel((40, 20), (255, 0, 0))
    out = eval_transform(Data(eval_size=40))(image)
    assert out.shape == (3, 40, 40)
    assert out[0].argmax().item() == 20 * 40 + 20
