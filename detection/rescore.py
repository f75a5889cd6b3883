"""``python -m detection.rescore OUTPUT_DIR ANNOTATIONS``: score predictions again, and fast.

Takes the ``inference/coco_instances_results.json`` of train_net.py, or any COCO result file. Uses faster-coco-eval
where it is installed and pycocotools otherwise; the two agree (tested). Detectron2's own evaluator is left alone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import UserError, guard, nearest

PROG = "python -m detection.rescore"
RESULTS = Path("inference") / "coco_instances_results.json"
STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


@dataclass(frozen=True)
class RescoreConfig:
    """Score COCO predictions.

    Attributes:
        predictions: OUTPUT_DIR of train_net.py, or a COCO result file.
        annotations: COCO annotation file of the evaluated set.
        engine: auto, faster_coco_eval or pycocotools.
        per_class: also print every class.
        json_file: also write the numbers here.
    """

    predictions: str
    annotations: str
    engine: str = "auto"
    per_class: bool = False
    json_file: str = ""


class Scores(NamedTuple):
    """What an evaluation gives, in percent; NaN where there is nothing to measure.

    Attributes:
        stats: AP, AP50, AP75, APs, APm, APl.
        classes: category name -> AP.
        engine: that computed it.
    """

    stats: dict[str, float]
    classes: dict[str, float]
    engine: str


def _faster() -> tuple[Any, Any]:
    from faster_coco_eval import COCO
    from faster_coco_eval import COCOeval_faster as Evaluation

    return COCO, Evaluation


def _official() -> tuple[Any, Any]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval as Evaluation

    return COCO, Evaluation


ENGINES: dict[str, Callable[[], tuple[Any, Any]]] = {"faster_coco_eval": _faster, "pycocotools": _official}


def pick_engine(name: str) -> str:
    """Resolve "auto".

    Raises:
        UserError: unknown, or not installed.
    """
    there = [engine for engine in ENGINES if importlib.util.find_spec(engine)]
    if name == "auto" and there:
        return there[0]
    if name in there:
        return name
    if name in ENGINES or name == "auto":
        raise UserError(f"engine: {name} is not installed: pip install {name.replace('_', '-')}")
    raise UserError(f"engine: no {name!r}{nearest(name, ENGINES)}: auto, {', '.join(ENGINES)}")


def score(predictions: list[dict[str, Any]], annotations: Path, engine: str = "auto") -> Scores:
    """Evaluate boxes as COCO does.

    Args:
        predictions: dicts of image_id, category_id, bbox (x, y, width, height; pixels), score.
        annotations: COCO annotation file.
        engine: auto, faster_coco_eval or pycocotools.

    Returns:
        The scores; all NaN without a single prediction, as Detectron2 has it.

    Raises:
        UserError: unreadable annotations, or predictions for images or categories that are not in them.

    Source: pycocotools.cocoeval; detectron2/evaluation/coco_evaluation.py.
    """
    from detection.coco.folder import read_annotations

    name = pick_engine(engine)
    coco_class, evaluation_class = ENGINES[name]()
    content = read_annotations(annotations)
    if not content["annotations"]:
        raise UserError(f"annotations: {annotations} annotates nothing")
    lacking = [each for each in content["annotations"] if {"id", "bbox", "area", "iscrowd"} - each.keys()]
    if lacking:
        raise UserError(
            f"annotations: {len(lacking)} in {annotations} lack id, bbox, area or iscrowd: {lacking[0]}"[:300]
        )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_class(str(annotations))
    categories = truth.loadCats(sorted(truth.getCatIds()))
    check_ids(predictions, content, annotations)
    if not predictions:
        return Scores(dict.fromkeys(STATS, math.nan), {c["name"]: math.nan for c in categories}, name)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = evaluation_class(truth, truth.loadRes(predictions), "bbox")
        for part in (evaluation.evaluate, evaluation.accumulate, evaluation.summarize):
            part()
    precision_TRKAM = evaluation.eval["precision"]
    stats = [_percent(value) for value in list(evaluation.stats)[: len(STATS)]]
    classes = {}
    for index, category in enumerate(categories):
        values = precision_TRKAM[:, :, index, 0, -1]
        found = values[values > -1]
        classes[category["name"]] = float(found.mean()) * 100 if found.size else math.nan
    return Scores(dict(zip(STATS, stats, strict=True)), classes, name)


def _percent(value: float) -> float:
    return float(value) * 100 if value >= 0 else math.nan


def check_ids(predictions: list[dict[str, Any]], content: dict[str, Any], annotations: Path) -> None:
    """Refuse predictions on another set.

    Args:
        predictions: of :func:`read_predictions`.
        content: of the annotation file.
        annotations: its path, for the message.

    Raises:
        UserError: an image or category that is not annotated.
    """
    for key, part in (("image_id", "images"), ("category_id", "categories")):
        foreign = {each[key] for each in predictions} - {each["id"] for each in content[part]}
        if foreign:
            raise UserError(
                f"predictions: {len(foreign)} values of {key} are not in {annotations}, e.g. {min(foreign)}: "
                "these are predictions on another set"
            )


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """Read COCO predictions.

    Args:
        path: OUTPUT_DIR of train_net.py, or the result file.

    Raises:
        UserError: missing, no JSON, or no list of boxes.

    Source: the COCO result format.
    """
    path = path / RESULTS if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"no predictions {path}: run train_net.py to its end, or with --eval-only")
    try:
        found = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no JSON or was cut short: {error}") from error
    if not isinstance(found, list):
        raise UserError(f"{path} is no list of COCO predictions")
    for index, each in enumerate(found):
        _check_prediction(each, f"{path}: prediction {index}")
    return found


def _check_prediction(each: Any, where: str) -> None:
    from detection.coco.folder import check_box

    if not isinstance(each, dict) or {"image_id", "category_id", "bbox", "score"} - each.keys():
        raise UserError(f"{where} is no COCO prediction (image_id, category_id, bbox, score): {str(each)[:60]}")
    check_box(each["bbox"], where)
    numbers = [isinstance(each[name], int) for name in ("image_id", "category_id")]
    if not all(numbers) or not isinstance(each["score"], int | float) or not math.isfinite(each["score"]):
        raise UserError(f"{where}: ids must be integers and the score a finite number: {str(each)[:80]}")


def rescore(config: RescoreConfig) -> Scores:
    """Score, print, and write where asked.

    Args:
        config: of the command.
    """
    start = time.perf_counter()
    found = read_predictions(Path(config.predictions))
    scores = score(found, Path(config.annotations), config.engine)
    seconds = time.perf_counter() - start
    print("  ".join(f"{name} {value:.3f}" for name, value in scores.stats.items()))
    if config.per_class:
        for name, value in scores.classes.items():
            print(f"  {name:20} {value:.3f}")
    print(f"{len(found)} boxes, {seconds:.1f} s with {scores.engine}", file=sys.stderr)
    if config.json_file:
        from engine.checkpoint import replacing

        clean = [{k: None if math.isnan(v) else v for k, v in part.items()} for part in scores[:2]]
        content = {"stats": clean[0], "classes": clean[1], "engine": scores.engine}
        with replacing(Path(config.json_file)) as file:
            file.write((json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    return scores


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and score; returns the exit code."""

    def command() -> None:
        from engine.command import parse, with_positional

        arguments = with_positional(argv, "predictions", "annotations")
        rescore(parse(RescoreConfig, arguments, prog=PROG, description=str(__doc__)))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
