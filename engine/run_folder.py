"""The run folder: resolved config, versions, metrics.jsonl, TensorBoard logs, last.pth and best.pth."""

import json
import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from engine.config import TrainingConfig
from engine.errors import UserError
from engine.files import finite, replacing, write_json
from engine.metrics_log import METRICS, read_rows
from engine.parser import dump

PACKAGES = ("torch", "torchvision", "timm", "accelerate", "numpy", "keepaugment")


class RunFolder:
    """One run on disk. Only the main process writes.

    Args:
        path: path of the folder.
        writes: whether this process may write.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path, self.writes, self.resumes = path, writes, False
        self._board: Any = None
        # Written at the first step, so that an earlier failure leaves an older run intact.
        self._postponed: TrainingConfig | None = None
        self._kept_epochs = 0

    @property
    def last(self) -> Path:
        """The newest checkpoint, with everything needed to resume."""
        return self.path / "last.pth"

    @property
    def best(self) -> Path:
        """The checkpoint of the best evaluation, weights only."""
        return self.path / "best.pth"

    def open(self, config: TrainingConfig) -> None:
        """Create the folder, and decide whether the run in it is resumed.

        Raises:
            UserError: the folder already holds a run (an epoch or a checkpoint) and neither resume nor overwrite
                is set; or there is nothing to resume.
        """
        self.resumes = config.resume or (config.auto_resume and self.last.is_file())
        if not self.writes:
            return
        metrics = self.path / METRICS
        if config.resume and not self.last.is_file():
            raise UserError(f"nothing to resume: {self.last} does not exist")
        begins = not self.resumes and not (config.overwrite or config.auto_resume)
        if begins and (self.last.is_file() or self.rows()):
            raise UserError(f"{self.path} already holds a run: use another --output, --resume or --overwrite")
        self.path.mkdir(parents=True, exist_ok=True)
        self._postponed = config
        if not self.resumes and not metrics.is_file():
            self.begin()

    def keep_until(self, epoch: int) -> None:
        """Set the epoch up to which a resumed run keeps its rows; later ones are dropped once it begins."""
        self._kept_epochs = epoch

    def begin(self) -> None:
        """After the first step, write config and versions and remove replaced files; later calls do nothing."""
        config, self._postponed = self._postponed, None
        if config is None:
            return
        if self.resumes:
            self.drop_rows_after(self._kept_epochs)
        else:
            (self.path / METRICS).write_text("")
            for stale in (self.last, self.best):
                stale.unlink(missing_ok=True)
        (self.path / "config.yaml").write_text(dump(config))
        write_json(provenance(), self.path / "run.json")

    def log(self, row: dict[str, float | int | str], step: int) -> None:
        """Append one row to metrics.jsonl (strict JSON: NaN becomes null) and TensorBoard."""
        if not self.writes:
            return
        self.begin()
        clean: dict[str, Any] = finite(row)
        with (self.path / METRICS).open("a") as file:
            file.write(json.dumps(clean) + "\n")
        if self._board is None:
            self._board = SummaryWriter(str(self.path / "tensorboard"))
        for name, value in clean.items():
            if isinstance(value, int | float):
                self._board.add_scalar(name, value, step)
        self._board.flush()

    def rows(self) -> list[dict[str, Any]]:
        """Read metrics.jsonl."""
        return read_rows(self.path)

    def drop_rows_after(self, epoch: int) -> None:
        """Drop the rows of epochs that a resumed run repeats."""
        if self.writes:
            rows = [row for row in self.rows() if row["epoch"] <= epoch]
            with replacing(self.path / METRICS) as file:
                file.write("".join(json.dumps(row) + "\n" for row in rows).encode())


def provenance() -> dict[str, Any]:
    """Describe what is running: command, versions, git commit and hardware."""
    return {
        "command": _command(),
        "git": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }


def write_measurement(result: dict[str, Any], path: Path) -> None:
    """Write what a benchmark has measured, with the versions, commit and hardware that measured it.

    Args:
        result: plain values.
        path: JSON file to write.

    Raises:
        UserError: the file cannot be written.
    """
    about = {key: value for key, value in provenance().items() if key != "command"}
    write_json({**result, **about}, path)


def _command() -> str:
    """Return the command line in a form that can be pasted, without the paths of this machine."""
    words = sys.orig_argv
    if "-m" in words[1:]:
        return shlex.join(["python", *words[words.index("-m", 1) :]])
    return shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]])


@cache
def _git(*arguments: str) -> str:
    root = Path(__file__).resolve().parents[1]
    try:
        result = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
