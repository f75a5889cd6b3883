"""``python -m reid.evaluate RUN`` or ``--features FILE.npz`` or ``--compare A B``: CMC, mAP, mINP, with intervals.

RUN is a run folder or checkpoint of reid.train; FILE.npz comes from any toolbox (arrays query_features, query_ids,
query_cams and the same of the gallery; without cams no image is left out). --compare takes two of either and tests
whether they differ on the same queries. Numbers go to stdout as JSON, a table and remarks to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import UserError, guard
from reid.config import Data, Protocol

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import nn

    from reid.evaluation.features import Features
    from reid.evaluation.report import Report
    from reid.sources import Source

PROG = "python -m reid.evaluate"


@dataclass(frozen=True)
class EvaluateConfig(Protocol):
    """Evaluate a re-identification network, or features of any other toolbox.

    Attributes:
        metric: cosine or euclidean.
        rerank: k-reciprocal re-ranking (Zhong et al., squared distances).
        k1: its neighbours that may be reciprocal.
        k2: its neighbours over which the encoding is averaged.
        rerank_weight: of the original distance in it, in [0, 1] (lambda).
        expand: query expansion over as many gallery images; 0 is none.
        expand_alpha: exponent of their weights.
        resamples: bootstrap samples of the confidence intervals; 0 leaves them out.
        single_shot: repeats of the single-gallery-shot CMC; 0 leaves it out.
        thresholds: report TPR at FPR, EER and their thresholds.
        seed: of bootstrap and single-shot draws.
        checkpoint: a .pth of reid.train, or its run folder (then last.pth).
        features: an .npz instead.
        compare: two of either, tested against one another.
        dataset: evaluate on another data set than that of the training.
        root: folder of the data; "" takes the one of training.
        flip: add the features of the mirrored images.
        multi_query: average each query with the photographs of gt_bbox by its camera.
        batch_size: images per batch.
        workers: data processes.
        device: auto, cpu, cuda, mps.
        json_file: also write the numbers here.
        save_features: also write the features to this .npz.
        picture: also write ranked lists of some queries to this PNG.
        page: also write numbers and pictures to this HTML file.
    """

    checkpoint: str = ""
    features: str = ""
    compare: tuple[str, ...] = ()
    dataset: str = ""
    root: str = ""
    flip: bool = False
    multi_query: bool = False
    batch_size: int = 128
    workers: int = 2
    device: str = "auto"
    json_file: str = ""
    save_features: str = ""
    picture: str = ""
    page: str = ""


def evaluate(model: nn.Module, source: Source, data: Data, accelerator: Accelerator) -> dict[str, float]:
    """Embed query and gallery and rank, during training; every process does it all, so that all agree.

    Returns:
        See :func:`reid.evaluation.metrics.metrics`.

    Source: Market-1501 protocol.
    """
    from reid.embed import embed_source
    from reid.evaluation.metrics import metrics
    from reid.evaluation.rank import feature_blocks, rank_positives

    features = embed_source(model, source, data, accelerator)
    return metrics(rank_positives(feature_blocks(features.query_QD, features.gallery_GD, features.labels)))


def protocol_of(config: EvaluateConfig) -> Protocol:
    """Take the protocol's fields out of the command's."""
    return Protocol(**{field.name: getattr(config, field.name) for field in fields(Protocol)})


def gather(config: EvaluateConfig, what: str) -> tuple[Features, dict[str, Any], Source | None]:
    """Get features: from an .npz, or by embedding a data set with a trained network.

    Args:
        config: of the command.
        what: .npz, checkpoint or run folder.

    Returns:
        Features; what is known about where they come from; the data set, where there is one.

    Raises:
        UserError: no such file, no checkpoint of reid.train, no data.
    """
    from reid.evaluation.features import load_features

    if what.endswith(".npz"):
        return load_features(Path(what)), {"features": what}, None
    from engine.config import Run
    from engine.setup import build_accelerator
    from reid.embed import embed_source
    from reid.sources import open_source
    from reid.trained import load_trained

    trained = load_trained(what)
    data = trained.data(
        root=config.root, dataset=config.dataset, batch_size=config.batch_size, workers=config.workers
    )
    source = open_source(data)
    accelerator = build_accelerator(Run(device=config.device))
    model = trained.model.to(accelerator.device)
    found = embed_source(model, source, data, accelerator, flip=config.flip, multi_query=config.multi_query)
    about = {"checkpoint": str(trained.path), "arch": trained.content["arch"], "epoch": trained.content["epoch"]}
    return (
        found,
        {**about, "dataset": data.dataset, "flip": config.flip, "multi_query": config.multi_query},
        source,
    )


def run(config: EvaluateConfig) -> dict[str, Any]:
    """Evaluate what the command names.

    Args:
        config: of the command.

    Returns:
        The numbers, as printed.

    Raises:
        UserError: nothing or too much to evaluate, and what :func:`gather` and the evaluation refuse.
    """
    named = [bool(config.checkpoint), bool(config.features), bool(config.compare)]
    if sum(named) != 1:
        raise UserError("give one of: a run or checkpoint, --features FILE.npz, --compare A B")
    _check(config)
    if config.compare:
        return compare_two(config)
    from engine.progress import with_share
    from reid.evaluation.report import as_dict, evaluate_features

    what = config.checkpoint or _npz(config.features)
    features, about, source = gather(config, what)
    if source is None and (config.picture or config.page):
        raise UserError("picture, page: an .npz has no images to show")
    protocol = protocol_of(config)
    report = with_share("re-ranking", lambda tell: evaluate_features(features, protocol, progress=tell))
    numbers = {**about, "protocol": _changed(protocol), **as_dict(report)}
    _write(config, features, report, source, numbers)
    show(report)
    return numbers


def _check(config: EvaluateConfig) -> None:
    """Refuse, before any work, what makes no sense or could not be written."""
    from engine.checkpoint import check_targets
    from engine.ranges import within
    from reid.evaluation.report import check

    check(protocol_of(config))
    within(config, batch_size=(1, None), workers=(0, None))
    outputs = {name: getattr(config, name) for name in ("json_file", "save_features", "picture", "page")}
    check_targets(*outputs.values(), inputs=(config.features, *config.compare))
    usual = EvaluateConfig()
    idle = ("save_features", "picture", "page") if config.compare else ()
    idle += ("dataset", "root", "flip", "multi_query") if config.features else ()
    for name in idle:
        if getattr(config, name) != getattr(usual, name):
            given = "compare" if config.compare else "features"
            raise UserError(f"{name}: has no effect together with --{given}: leave it out")
    if config.picture and Path(config.picture).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"picture: {config.picture} must end in .png or .jpg")


def _npz(path: str) -> str:
    if not path.endswith(".npz"):
        raise UserError(f"features: {path} must be an .npz (numpy.savez)")
    return path


def _changed(protocol: Protocol) -> dict[str, Any]:
    """Name what differs from the usual protocol."""
    usual = Protocol()
    return {
        f.name: getattr(protocol, f.name)
        for f in fields(Protocol)
        if getattr(protocol, f.name) != getattr(usual, f.name)
    }


def _write(
    config: EvaluateConfig, features: Features, report: Report, source: Source | None, numbers: Any
) -> None:
    write_json(numbers, config.json_file)
    if config.save_features:
        from reid.evaluation.features import save_features

        save_features(features, Path(config.save_features))
    if config.picture and source is not None:
        from imagesets.contact_sheet import save_picture
        from reid.report.pictures import ranked_lists

        save_picture(ranked_lists(features, source, protocol_of(config)), Path(config.picture))
    if config.page and source is not None:
        from reid.report.page import write_page

        write_page(Path(config.page), features, report, source, protocol_of(config), numbers, config.checkpoint)


def compare_two(config: EvaluateConfig) -> dict[str, Any]:
    """Evaluate two runs or feature files on the same queries and test the difference.

    Raises:
        UserError: not two, or other queries in the one than in the other.

    Source: see :func:`reid.evaluation.bootstrap.compare`.
    """
    import numpy as np

    from reid.evaluation.bootstrap import compare
    from reid.evaluation.report import evaluate_features

    if len(config.compare) != 2:
        raise UserError(f"compare: two of them, got {len(config.compare)}")
    one, other = (gather(config, what)[0] for what in config.compare)
    if not all(np.array_equal(a, b) for a, b in zip(one.labels, other.labels, strict=True)):
        raise UserError(
            "compare: the two have other query or gallery labels: a paired test needs the same test set"
        )
    reports = [evaluate_features(each, protocol_of(config)) for each in (one, other)]
    resamples = config.resamples or 2000
    found = compare(*(r.found for r in reports), one.labels.query_ids, resamples=resamples, seed=config.seed)
    for name, row in found.items():
        values = " - ".join(f"{report.numbers[name]:6.2f}" for report in reports)
        interval = f"95 % [{row['low']:+.2f}, {row['high']:+.2f}]"
        print(f"{name:14} {values} = {row['difference']:+.2f}  {interval}  p {row['p']:.4f}", file=sys.stderr)
    numbers = {"compare": list(config.compare), **found}
    write_json(numbers, config.json_file)
    return numbers


def write_json(numbers: dict[str, Any], path: str) -> None:
    """Write numbers to a file; "" is none."""
    from engine.checkpoint import replacing

    if path:
        with replacing(Path(path)) as file:
            file.write((json.dumps(numbers) + "\n").encode())


def show(report: Report) -> None:
    """Print a table and the remarks to stderr."""
    for name, value in report.numbers.items():
        known = report.intervals.get(name)
        text = f"  95 % [{known[0]:.2f}, {known[1]:.2f}]" if known else ""
        print(
            f"{name:26} {value:10.2f}{text}" if "threshold" not in name else f"{name:26} {value:10.4f}",
            file=sys.stderr,
        )
    for remark in report.remarks:
        print(f"remark: {remark}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and evaluate; returns the exit code."""

    def command() -> None:
        from engine.command import parse, with_positional

        words = with_positional(_pair(list(sys.argv[1:] if argv is None else argv)), "checkpoint")
        print(json.dumps(run(parse(EvaluateConfig, words, prog=PROG, description=str(__doc__)))))

    return guard(command)


def _pair(words: list[str]) -> list[str]:
    """Let ``--compare A B`` mean ``--compare [A, B]``."""
    if "--compare" not in words:
        return words
    at = words.index("--compare")
    end = next((i for i in range(at + 1, len(words)) if words[i].startswith("--")), len(words))
    return [*words[:at], f"--compare={json.dumps(words[at + 1 : end])}", *words[end:]]


if __name__ == "__main__":
    sys.exit(main())
