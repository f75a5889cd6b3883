"""Implementation of ``python -m reid.evaluate``: evaluate, print, write and draw."""

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from engine.errors import UserError, check_ranges
from engine.files import check_targets, write_json
from engine.progress import with_share
from imagesets.contact_sheet import save_picture
from reid.config import Protocol
from reid.evaluate import EvaluateOptions
from reid.evaluation.feature_origin import Origin, open_features, protocol_of, require_npz
from reid.evaluation.features import save_features
from reid.evaluation.report import Report, as_dict, check, evaluate_features
from reid.report.page import write_page
from reid.report.pictures import ranked_lists

NEEDS_NETWORK = ("dataset", "root", "flip", "multi_query")


def evaluate(options: EvaluateOptions) -> dict[str, Any]:
    """Evaluate a checkpoint or features, print the numbers as JSON, and write the requested files.

    Returns:
        The numbers, as printed.

    Raises:
        UserError: not exactly one input is given, an option is invalid, or
            :func:`reid.evaluation.feature_origin.open_features` or the evaluation fails.
    """
    _check(options)
    origin = open_features(options, options.checkpoint or require_npz(options.features))
    if origin.source is None and (options.picture or options.page):
        raise UserError("picture and page need a checkpoint: an .npz has no images to show")
    protocol = protocol_of(options)
    report = with_share("re-ranking", lambda tell: evaluate_features(origin.features, protocol, progress=tell))
    numbers = {**origin.about, "protocol": _differences(protocol), **as_dict(report)}
    _write(options, origin, report, numbers)
    _show(report)
    print(json.dumps(numbers))
    return numbers


def _check(options: EvaluateOptions) -> None:
    """Check options and output files before any work."""
    if bool(options.checkpoint) == bool(options.features):
        raise UserError("give either a run folder or checkpoint, or --features FILE.npz")
    check(protocol_of(options))
    check_ranges(options, batch_size=(1, None), workers=(0, None))
    outputs = (options.json_file, options.save_features, options.picture, options.page)
    check_targets(*outputs, inputs=(options.features,))
    defaults = EvaluateOptions()
    for name in NEEDS_NETWORK if options.features else ():
        if getattr(options, name) != getattr(defaults, name):
            raise UserError(f"{name} has no effect with --features: remove it")
    if options.picture and Path(options.picture).suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"picture: {options.picture} must end in .png or .jpg")


def _differences(protocol: Protocol) -> dict[str, Any]:
    """Return the options that differ from the default protocol."""
    default = Protocol()
    names = [field.name for field in fields(Protocol)]
    return {n: getattr(protocol, n) for n in names if getattr(protocol, n) != getattr(default, n)}


def _write(options: EvaluateOptions, origin: Origin, report: Report, numbers: dict[str, Any]) -> None:
    write_json(numbers, options.json_file, indent=None)
    if options.save_features:
        save_features(origin.features, Path(options.save_features))
    protocol = protocol_of(options)
    if options.picture and origin.source is not None:
        save_picture(ranked_lists(origin.features, origin.source, protocol), Path(options.picture))
    if options.page and origin.source is not None:
        path = Path(options.page)
        write_page(path, origin.features, report, origin.source, protocol, numbers, options.checkpoint)


def _show(report: Report) -> None:
    """Print a table and the remarks to stderr."""
    for name, value in report.numbers.items():
        ends = report.intervals.get(name)
        text = f"  95 % [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else ""
        digits = 4 if "threshold" in name else 2
        print(f"{name:26} {value:10.{digits}f}{text}", file=sys.stderr)
    for remark in report.remarks:
        print(f"remark: {remark}", file=sys.stderr)
