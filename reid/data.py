"""Photographs for the network; and ``python -m reid.data check ROOT``: is a data set what it should be?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UserError, guard
from reid.config import Data

if TYPE_CHECKING:
    from torch import Tensor

    from reid.sources import Photo

PROG = "python -m reid.data check"


class Photos:
    """Photos as (uint8 3 x H x W, label), a map-style data set.

    Args:
        photos: in order.
        labels: one per photo.
        transform: PIL image -> uint8 tensor.
    """

    def __init__(self, photos: Sequence[Photo], labels: Sequence[int], transform: Callable[[Any], Tensor]) -> None:
        self.photos, self.labels, self.transform = photos, labels, transform

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from imagesets.images import read_rgb

        return self.transform(read_rgb(self.photos[index].path)), self.labels[index]

    def __len__(self) -> int:
        return len(self.photos)


def train_transform(data: Data) -> Callable[[Any], Tensor]:
    """Resize, flip, pad with black and crop. Erasing follows on the device, after normalisation.

    Source: michuanhaohao/reid-strong-baseline data/transforms/build.py.
    """
    from torchvision.transforms import v2

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
    from torchvision.transforms import v2

    return v2.Compose([v2.Resize([data.height, data.width]), v2.PILToTensor()])


@dataclass(frozen=True)
class CheckConfig:
    """Compare a re-ID data set with the published counts, and say why a query has no positive.

    Attributes:
        root: folder, or CSV file.
        dataset: market1501, dukemtmc, msmt17, folder or csv; "" looks.
        decode: also decode every image.
    """

    root: str
    dataset: str = ""
    decode: bool = False


def check(config: CheckConfig) -> int:
    """Print counts and problems.

    Args:
        config: of the command.

    Returns:
        1 where there is a problem, else 0.

    Raises:
        UserError: no such data set.

    Source: the published counts; issue threads of torchreid and fast-reid.
    """
    from reid.inspect_data import inspect
    from reid.sources import guess, open_source

    dataset = config.dataset or guess(Path(config.root).expanduser())
    source = open_source(Data(dataset=dataset, root=config.root))
    told, problems = inspect(source, dataset, decode=config.decode)
    print("\n".join([f"{config.root} read as {dataset}", *told, *(f"WRONG: {problem}" for problem in problems)]))
    return int(bool(problems))


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and check; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)

    def command() -> int:
        from engine.command import parse, with_positional

        if words and words[0] not in ("check", "-h", "--help"):
            raise UserError(f"no command {words[0]!r}: {PROG} ROOT")
        arguments = with_positional(words[1:] if words and words[0] == "check" else words, "root")
        return check(parse(CheckConfig, arguments, prog=PROG, description=str(__doc__)))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
