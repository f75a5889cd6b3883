"""Write an HTML page with metrics, intervals, remarks and embedded pictures."""

import base64
import html
import io
from pathlib import Path
from typing import Any

from PIL import Image

from engine.errors import UserError
from engine.files import replacing
from reid.config import Protocol
from reid.dataset_layouts import ReidSet
from reid.evaluation.features import Features
from reid.evaluation.report import Report
from reid.load_run import load_trained
from reid.report.pictures import erasing_sheet, ranked_lists, score_histogram

PAGE = """<!doctype html><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px system-ui;max-width:62em;margin:2em auto;padding:0 1em}}img{{max-width:100%}}
td,th{{padding:.2em 1em;text-align:left;border-bottom:1px solid #ccc}}</style>
<h1>{title}</h1><p>{about}</p><table><tr><th>metric<th>value<th>95 % interval</tr>{rows}</table>
{remarks}{pictures}
"""


def write_page(
    path: Path,
    features: Features,
    report: Report,
    source: ReidSet,
    protocol: Protocol,
    numbers: dict[str, Any],
    checkpoint: str,
) -> None:
    """Write the page of an evaluation.

    Args:
        path: HTML file.
        features: features that were evaluated.
        report: result of the evaluation.
        source: the data set.
        protocol: protocol of the evaluation.
        numbers: metrics with the origin of the features.
        checkpoint: run or checkpoint, for the erasing sheet.

    Raises:
        UserError: the file cannot be written.
    """
    pictures = [
        (
            "Ranked lists",
            "Grey: query. Green: same identity, another camera. Red: another identity. Yellow: same identity "
            "and camera, which does not count.",
            ranked_lists(features, source, protocol),
        )
    ]
    if report.verification is not None:
        text = "Similarity of all pairs of query and gallery images: same person (green), different people (red)."
        pictures.append(("Same person?", text, score_histogram(report.verification)))
    pictures += _erasing(checkpoint, source)
    rows = "".join(_row(name, value, report.intervals.get(name)) for name, value in report.numbers.items())
    about = {key: value for key, value in numbers.items() if isinstance(value, str | bool) or key == "protocol"}
    content = PAGE.format(
        title=html.escape(f"re-ID: {numbers.get('arch', 'features')}"),
        about=html.escape(", ".join(f"{key} {value}" for key, value in about.items() if value not in ("", {}))),
        rows=rows,
        remarks="".join(f"<p><b>Remark:</b> {html.escape(text)}</p>" for text in report.remarks),
        pictures="".join(_figure(*entry) for entry in pictures),
    )
    with replacing(path) as file:
        file.write(content.encode())


def _erasing(checkpoint: str, source: ReidSet) -> list[tuple[str, str, Image.Image]]:
    try:
        image = erasing_sheet(load_trained(checkpoint), source)
    except UserError:  # a recipe without erasing, or a data set with other people
        return []
    text = "Red: plain box. Green: selective box of the same draw. The square root of the saliency is shown."
    return [("Where erasing falls", text, image)]


def _row(name: str, value: float, interval: tuple[float, float] | None) -> str:
    ends = f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else ""
    text = f"{value:.4f}" if "threshold" in name else f"{value:.2f}"
    return f"<tr><td>{html.escape(name)}<td>{text}<td>{ends}</tr>"


def _figure(title: str, text: str, image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<h2>{title}</h2><p>{text}</p><img alt="{title}" src="data:image/png;base64,{data}">'
