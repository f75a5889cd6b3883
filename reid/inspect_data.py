"""What a re-ID data set holds, how that compares with the published counts, and what is wrong with it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from engine.errors import UserError
from imagesets.images import read_rgb
from reid.sources import DISTRACTOR, PARTS, Photo, Source

# images and identities of train, query and gallery (without junk, with distractors as one identity)
PUBLISHED = {
    "market1501": ((12936, 751), (3368, 750), (15913, 751)),
    "dukemtmc": ((16522, 702), (2228, 702), (17661, 1110)),
    "msmt17": ((32621, 1041), (11659, 3060), (82161, 3060)),
}


def inspect(source: Source, dataset: str, *, decode: bool = False) -> tuple[list[str], list[str]]:
    """Look a data set through.

    Args:
        source: the data set.
        dataset: its name, for the published counts.
        decode: also decode every image.

    Returns:
        What it holds, one line a part, and problems.

    Source: readme of Market-1501 (with 2,798 distractors and 3,819 junk images in the distributed files), MSMT17,
        DukeMTMC-reID.
    """
    told, problems = [], list(_problems(source))
    for index, (name, photos) in enumerate(zip(PARTS, source[:3], strict=True)):
        people, cameras = {p.person for p in photos}, {p.camera for p in photos}
        line = f"{name}: {len(photos)} images of {len(people)} identities"
        line += f" by {len(cameras)} cameras" if source.has_cameras else ", cameras unknown"
        published = PUBLISHED.get(dataset)
        if published:
            same = published[index] == (len(photos), len(people))
            line += " (as published)" if same else f" (published: {published[index][0]} of {published[index][1]})"
        told.append(line)
    distractors = sum(photo.person == DISTRACTOR for photo in source.gallery)
    told.append(f"{distractors} distractors stay in the gallery, {source.junk} junk images (-1) were left out")
    if decode:
        problems += _unreadable([photo for part in source[:3] for photo in part])
    return told, problems


def _problems(source: Source) -> Iterator[str]:
    missing = [photo.path for part in source[:3] for photo in part if not photo.path.is_file()]
    if missing:
        yield f"{len(missing)} images are missing, e.g. {missing[0]}"
    both = {p.person for p in source.train} & {p.person for p in (*source.query, *source.gallery)} - {DISTRACTOR}
    if both:
        yield f"{len(both)} identities are in training and test, e.g. {min(both)}: the test would be too easy"
    yield from why_no_positive(source)
    twice = [
        path for path, n in Counter(p.path.resolve() for p in (*source.query, *source.gallery)).items() if n > 1
    ]
    if twice:
        yield f"{len(twice)} images are both query and gallery, or listed twice, e.g. {twice[0]}"
    alone = [person for person, n in Counter(p.person for p in source.train).items() if n < 2]
    if len(alone) == len(source.people):
        yield "every training identity has one image only: the triplet loss has no positives"


def why_no_positive(source: Source) -> list[str]:
    """Say for the queries without a positive what is missing.

    Args:
        source: the data set.

    Returns:
        A sentence for each reason; none when every query has a positive.

    Source: Market-1501's protocol: same identity, another camera.
    """
    cameras = defaultdict(set)
    for photo in source.gallery:
        cameras[photo.person].add(photo.camera)
    absent = [p for p in source.query if p.person not in cameras]
    same = [p for p in source.query if source.has_cameras and cameras.get(p.person) == {p.camera}]
    found = []
    if absent:
        found.append(f"{len(absent)} queries: their identity is not in the gallery, e.g. {absent[0].path.name}")
    if same:
        found.append(
            f"{len(same)} queries: the gallery has their identity from their own camera only, e.g. "
            f"{same[0].path.name}; without usable cameras leave them out (a CSV without the column camera)"
        )
    return found


def _unreadable(photos: Sequence[Photo]) -> list[str]:
    from engine.progress import tracked

    found = []
    for photo in tracked(photos, "decoding"):
        try:
            read_rgb(photo.path)
        except UserError:
            found.append(photo.path)
    return [f"{len(found)} images cannot be read, e.g. {found[0]}"] if found else []
