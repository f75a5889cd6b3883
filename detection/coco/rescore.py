"""Scores COCO predictions with faster-coco-eval or pycocotools, for ``python -m detection.rescore``."""

import contextlib
import importlib.util
import io
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from detection.rescore import RescoreOptions
from engine.errors import UserError
from engine.files import check_targets, read_json, write_json
from imagesets.coco import check_box, read_annotations

RESULTS = Path("inference") / "coco_instances_results.json"
STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


class Scores(NamedTuple):
    """Results of an evaluation, in percent; NaN where nothing can be measured.

    Attributes:
        stats: AP, AP50, AP75, APs, APm, APl.
        classes: category name -> AP.
        engine: library that computed them.
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
    """Return the name of an installed engine; "auto" prefers the faster one.

    Raises:
        UserError: the engine is not installed.
    """
    installed = [engine for engine in ENGINES if importlib.util.find_spec(engine)]
    if name == "auto" and installed:
        return installed[0]
    if name not in installed:
        package = "pycocotools" if name == "auto" else name.replace("_", "-")
        raise UserError(f"engine: {package} is not installed: pip install {package}")
    return name


def score(predictions: list[dict[str, Any]], annotations: Path, engine: str = "auto") -> Scores:
    """Evaluate boxes with the COCO metrics.

    Args:
        predictions: dicts of image_id, category_id, bbox (x, y, width, height; pixels), score.
        annotations: COCO annotation file.
        engine: auto, faster_coco_eval or pycocotools.

    Returns:
        The scores; all NaN if there are no predictions, as in Detectron2.

    Raises:
        UserError: the annotations cannot be read, or lack an image or category of the predictions.

    Source: pycocotools.cocoeval; detectron2/evaluation/coco_evaluation.py.
    """
    name = pick_engine(engine)
    coco_class, evaluation_class = ENGINES[name]()
    content = read_annotations(annotations)
    if not content["annotations"]:
        raise UserError(f"annotations: {annotations} has no annotated objects")
    lacking = [box for box in content["annotations"] if {"id", "bbox", "area", "iscrowd"} - box.keys()]
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
        valid = values[values > -1]
        classes[category["name"]] = float(valid.mean()) * 100 if valid.size else math.nan
    return Scores(dict(zip(STATS, stats, strict=True)), classes, name)


def _percent(value: float) -> float:
    return float(value) * 100 if value >= 0 else math.nan


def check_ids(predictions: list[dict[str, Any]], content: dict[str, Any], annotations: Path) -> None:
    """Check that predictions belong to an annotation file.

    Args:
        predictions: from :func:`read_predictions`.
        content: content of the annotation file.
        annotations: path of that file, for the message.

    Raises:
        UserError: an image or category of the predictions is not in the file.
    """
    for key, part in (("image_id", "images"), ("category_id", "categories")):
        foreign = {box[key] for box in predictions} - {entry["id"] for entry in content[part]}
        if foreign:
            raise UserError(
                f"predictions: {len(foreign)} values of {key} are not in {annotations}, e.g. {min(foreign)}: "
                "the predictions are for a different data set"
            )


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """Read COCO predictions.

    Args:
        path: OUTPUT_DIR of train_net.py, or a COCO result file.

    Raises:
        UserError: the file is missing, is not valid JSON, or is not a list of boxes.

    Source: the COCO result format.
    """
    path = path / RESULTS if path.is_dir() else path
    if not path.is_file():
        raise UserError(f"predictions {path} not found: run train_net.py to the end, or with --eval-only")
    predictions = read_json(path)
    if not isinstance(predictions, list):
        raise UserError(f"{path} is not a list of COCO predictions")
    for index, prediction in enumerate(predictions):
        _check_prediction(prediction, f"{path}: prediction {index}")
    return predictions


def _check_prediction(prediction: Any, where: str) -> None:
    if not isinstance(prediction, dict) or {"image_id", "category_id", "bbox", "score"} - prediction.keys():
        raise UserError(
            f"{where} is not a COCO prediction (image_id, category_id, bbox, score): {str(prediction)[:60]}"
        )
    check_box(prediction["bbox"], where)
    numbers = [isinstance(prediction[name], int) for name in ("image_id", "category_id")]
    if (
        not all(numbers)
        or not isinstance(prediction["score"], int | float)
        or not math.isfinite(prediction["score"])
    ):
        raise UserError(f"{where}: ids must be integers and the score a finite number: {str(prediction)[:80]}")


def rescore(options: RescoreOptions) -> Scores:
    """Score the predictions, print the scores, and write them if requested."""
    check_targets(options.json_file, inputs=(options.annotations,))
    start = time.perf_counter()
    predictions = read_predictions(Path(options.predictions))
    scores = score(predictions, Path(options.annotations), options.engine)
    seconds = time.perf_counter() - start
    print("  ".join(f"{name} {value:.3f}" for name, value in scores.stats.items()))
    if options.per_class:
        for name, value in scores.classes.items():
            print(f"  {name:20} {value:.3f}")
    print(f"{len(predictions)} boxes, {seconds:.1f} s with {scores.engine}", file=sys.stderr)
    content = {"stats": scores.stats, "classes": scores.classes, "engine": scores.engine}
    write_json(content, options.json_file)
    return scores
