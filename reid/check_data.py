"""Contents of a re-ID data set, their comparison with the published counts, and problems found."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine.errors import UserError
from engine.progress import tracked
from imagesets.data_report import DataReport
from imagesets.readers import read_rgb
from reid.config import Data
from reid.data import CheckOptions
from reid.dataset_layouts import DISTRACTOR, PARTS, Photo, ReidSet, guess, open_source

# images and identities of train, query and gallery (without junk, with distractors as one identity)
PUBLISHED = {
    "market1501": ((12936, 751), (3368, 750), (15913, 751)),
    "dukemtmc": ((16522, 702), (2228, 702), (17661, 1110)),
    "msmt17": ((30248, 1041), (11659, 3060), (82161, 3060)),  # without the validation list
}


def check(options: CheckOptions) -> int:
    """Print counts and problems; implements ``python -m reid.data check``.

    Returns:
        1 if there is a problem, else 0.

    Raises:
        UserError: the data set is not found or cannot be read.
    """
    dataset = options.dataset or guess(Path(options.root).expanduser())
    report = inspect(open_source(Data(dataset=dataset, root=options.root)), dataset, decode=options.decode)
    print(f"{options.root} read as {dataset}")
    return report.show()


def inspect(source: ReidSet, dataset: str, *, decode: bool = False) -> DataReport:
    """Inspect a data set.

    Args:
        source: the data set.
        dataset: its name, for the published counts.
        decode: also decode every image.

    Source: readme of Market-1501 (with 2,798 distractors and 3,819 junk images in the distributed files), MSMT17,
        DukeMTMC-reID.
    """
    contents, problems = [], list(_problems(source))
    for index, (name, photos) in enumerate(zip(PARTS, source[:3], strict=True)):
        people, cameras = {p.person for p in photos}, {p.camera for p in photos}
        line = f"{name}: {len(photos)} images of {len(people)} identities"
        line += f" by {len(cameras)} cameras" if source.has_cameras else ", cameras unknown"
        published = PUBLISHED.get(dataset)
        if published:
            same = published[index] == (len(photos), len(people))
            line += " (as published)" if same else f" (published: {published[index][0]} of {published[index][1]})"
        contents.append(line)
    distractors = sum(photo.person == DISTRACTOR for photo in source.gallery)
    contents.append(f"{distractors} distractors stay in the gallery; {source.junk} junk images (-1) were left out")
    if decode:
        problems += _unreadable([photo for part in source[:3] for photo in part])
    return DataReport(contents, problems)


def _problems(source: ReidSet) -> Iterator[str]:
    missing = [photo.path for part in source[:3] for photo in part if not photo.path.is_file()]
    if missing:
        yield f"{len(missing)} images are missing, e.g. {missing[0]}"
    both = {p.person for p in source.train} & {p.person for p in (*source.query, *source.gallery)} - {DISTRACTOR}
    if both:
        yield f"{len(both)} identities are in both training and test, e.g. {min(both)}: the test would be too easy"
    yield from why_no_positive(source)
    twice = [
        path for path, n in Counter(p.path.resolve() for p in (*source.query, *source.gallery)).items() if n > 1
    ]
    if twice:
        yield f"{len(twice)} images are in both query and gallery, or listed twice, e.g. {twice[0]}"
    alone = [person for person, n in Counter(p.person for p in source.train).items() if n < 2]
    if len(alone) == len(source.people):
        yield "every training identity has only one image: the triplet loss has no positives"


def why_no_positive(source: ReidSet) -> list[str]:
    """Explain why queries have no positive.

    Args:
        source: the data set.

    Returns:
        One sentence for each reason; empty when every query has a positive.

    Source: Market-1501's protocol: same identity, another camera.
    """
    cameras = defaultdict(set)
    for photo in source.gallery:
        cameras[photo.person].add(photo.camera)
    absent = [p for p in source.query if p.person not in cameras]
    same = [p for p in source.query if source.has_cameras and cameras.get(p.person) == {p.camera}]
    reasons = []
    if absent:
        reasons.append(f"{len(absent)} queries show a person absent from the gallery, e.g. {absent[0].path.name}")
    if same:
        reasons.append(
            f"{len(same)} queries have gallery images of their identity only from their own camera, e.g. "
            f"{same[0].path.name}; if the cameras are unknown, use a CSV without the column camera"
        )
    return reasons


def _unreadable(photos: Sequence[Photo]) -> list[str]:
    unreadable = []
    for photo in tracked(photos, "decoding"):
        try:
            read_rgb(photo.path)
        except UserError:
            unreadable.append(photo.path)
    return [f"{len(unreadable)} images cannot be read, e.g. {unreadable[0]}"] if unreadable else []
