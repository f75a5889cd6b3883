"""Load photographs as uint8 tensors for the network."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torchvision.transforms import v2

from imagesets.readers import read_rgb
from reid.config import Data
from reid.dataset_layouts import Photo


class Photos:
    """Map-style data set of photos as (uint8 3 x H x W, label).

    Args:
        photos: photos in order.
        labels: one label per photo.
        transform: PIL image -> uint8 tensor.
    """

    def __init__(self, photos: Sequence[Photo], labels: Sequence[int], transform: Callable[[Any], Tensor]) -> None:
        self.photos, self.labels, self.transform = photos, labels, transform

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(read_rgb(self.photos[index].path)), self.labels[index]

    def __len__(self) -> int:
        return len(self.photos)


def train_transform(data: Data) -> Callable[[Any], Tensor]:
    """Resize, flip, pad with black and crop; erasing follows on the device after normalisation.

    Source: michuanhaohao/reid-strong-baseline data/transforms/build.py.
    """
    size = [data.height, data.width]
    return v2.Compose(
        [
            v2.Resize(size),
            v2.RandomHorizontalFlip(data.hflip),
            v2.RandomCrop(size, padding=data.padding),
            v2.PILToTensor(),
        ]
    )


def eval_transform(data: Data) -> Callable[[Any], Tensor]:
    """Resize only.

    Source: michuanhaohao/reid-strong-baseline data/transforms/build.py.
    """
    return v2.Compose([v2.Resize([data.height, data.width]), v2.PILToTensor()])
