"""Reads an OUTPUT_DIR of train_net.py: row, arm, metric, and whether the run counts."""

import contextlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection.checkpoints.write import read
from detection.table11.differences import differences, signature
from detection.table11.rows import BATCH, SCHEDULE
from detection.table11.run_note import read_note
from detection.table11.settings import OTHER, Settings, read_config, settings_of
from engine.errors import UserError

METRIC = "bbox/AP"


@dataclass(frozen=True)
class DetectorRun:
    """Result of one OUTPUT_DIR.

    Attributes:
        folder: name of the folder.
        row: short name of the row, or "other".
        arm: name of the backbone: plain, CutMix, KeepCutMix, ...
        value: value of the metric; NaN if nothing was detected.
        iteration: iteration of the evaluation.
        settings: settings in its config.
        gpus: number of GPUs that detection.run used; 0 if unknown.
        differences: keys in which its config differs from the row's.
        signature: the same for runs that differ in their seed alone.
    """

    folder: str
    row: str
    arm: str
    value: float
    iteration: int
    settings: Settings
    gpus: int = 0
    differences: tuple[str, ...] = ()
    signature: str = ""

    @property
    def expected(self) -> int:
        """Iterations of the whole run; 0 if Detectron2 scaled them to an unknown number of GPUs."""
        reference = self.settings.gpus
        if not reference:
            return self.settings.iterations
        return round(self.settings.iterations * reference / self.gpus) if self.gpus else 0

    @property
    def group(self) -> str:
        """What the run is compared under: its row or, for another config, its signature."""
        return self.signature if self.row == OTHER else self.row

    @property
    def remark(self) -> str:
        """Reason why the number is not comparable with Table 11; "" if it is."""
        if math.isnan(self.value):
            return "no detections (AP is NaN)"
        if self.settings.gpus and not self.gpus:
            return "the schedule was scaled to a number of GPUs that is not known: the run may be unfinished"
        if self.iteration < self.expected - 1:
            return f"unfinished: iteration {self.iteration} of {self.expected}"
        if self.differences:
            more = f", and {len(self.differences) - 3} more" if len(self.differences) > 3 else ""
            return f"not the config of {self.row}: {', '.join(self.differences[:3])}{more}"
        images = self.settings.iterations * self.settings.batch
        if self.row != OTHER and images != SCHEDULE * BATCH:
            return (
                f"{self.settings.iterations} iterations of {self.settings.batch} instead of {SCHEDULE} of {BATCH}"
            )
        return ""


def read_run(text: str, metric: str = METRIC) -> DetectorRun:
    """Read one OUTPUT_DIR.

    Args:
        text: folder, or arm=folder.
        metric: column of metrics.json.

    Raises:
        UserError: the folder is not an OUTPUT_DIR of train_net.py, or has no evaluation or no such metric.

    Source: detectron2/utils/events.py: one JSON object per line, which may contain NaN.
    """
    arm, folder = split_arm(text)
    rows = read_metrics(folder)
    evaluated = [row for row in rows if METRIC in row]
    if not evaluated:
        raise UserError(f"{folder}/metrics.json has no evaluation: wait until the run is finished")
    last = evaluated[-1]
    if metric not in last:
        columns = ", ".join(key for key in last if key.startswith("bbox/") and "-" not in key)
        raise UserError(f"metric: {metric!r} is not in {folder}/metrics.json: choose from {columns}")
    config, note = folder / "config.yaml", read_note(folder)
    cfg = read_config(config) if config.is_file() else {}
    settings = settings_of(cfg)
    value = last[metric]
    return DetectorRun(
        folder=folder.name,
        row=settings.row,
        arm=arm or _arm_of(note, settings.weights),
        value=math.nan if value is None else float(value),
        iteration=int(last.get("iteration", 0)),
        settings=settings,
        gpus=int(note.get("gpus") or 0),
        differences=differences(cfg, settings.row),
        signature=signature(cfg) + str(note.get("data", "")),
    )


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read metrics.json of train_net.py; a last line truncated by a crash is ignored.

    Raises:
        UserError: the file is missing, or a line is not a JSON object.

    Source: see :func:`read_run`.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        raise UserError(f"{path} not found: give an OUTPUT_DIR of train_net.py")
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise UserError(f"{path}, line {number}: not valid JSON: {error}") from error
            continue
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: not a JSON object: {line[:40]}")
        rows.append(row)
    return rows


def _arm_of(note: dict[str, Any], weights: str) -> str:
    """Return the arm in detection.run's note or, without one, of the weights that the config names."""
    if note.get("arm"):
        return str(note["arm"])
    path = Path(weights)
    augment = ""
    if path.suffix in (".pth", ".pkl") and path.is_file():
        with contextlib.suppress(UserError):  # not a Detectron2 file: fall back to its name
            augment = str(read(path)[1].get("augment", ""))
    return augment or path.stem or "random"


def split_arm(text: str) -> tuple[str, Path]:
    """Split arm=folder; the name of the folder may contain "=" too."""
    arm, equals, rest = text.partition("=")
    return ("", Path(text)) if Path(text).is_dir() or not equals else (arm, Path(rest))
