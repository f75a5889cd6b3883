#!/usr/bin/env python3
"""Run the whole chain on the generated demo set: pretrain, convert, detect, re-identify; write a table and a page.

Every number comes from the run folders of the printed commands.
"""

import argparse
import html
import json
import shutil
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)
CONFIG = ROOT / "detection" / "configs" / "demo_faster_rcnn_R_18_FPN.yaml"
ARMS = ("cutmix", "keepcutmix")


EXPECTED = {  # seconds on two cores; they weight the progress line
    "pretrain_cutmix": 43,
    "evaluate_cutmix": 5,
    "detect_cutmix": 47,
    "pretrain_keepcutmix": 44,
    "evaluate_keepcutmix": 5,
    "detect_keepcutmix": 44,
    "reid_train": 34,
    "reid_evaluate": 6,
}


class Chain:
    """Runs commands one after another under a progress line, and records how long each takes."""

    def __init__(self, out: Path) -> None:
        self.out, self.seconds, self.start = out, {}, time.time()
        self.bar = Progress(
            BarColumn(20),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            transient=True,
        )
        self.task = self.bar.add_task("", total=sum(EXPECTED.values()))

    def run(self, name: str, *command: object) -> None:
        """Run one command with its output in a log, whose last line is shown; exit if it fails."""
        began, log, done = time.time(), self.out / f"{name}.log", sum(EXPECTED[key] for key in self.seconds)
        shown = f"[{began - self.start:4.0f} s] {name}: {' '.join(map(str, command[1:]))}"
        self.bar.console.print(shown, markup=False, highlight=False, soft_wrap=True)
        with log.open("w") as file, self.bar if self.bar.console.is_terminal else nullcontext():
            words = [str(word) for word in command]
            process = subprocess.Popen(words, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT)
            while process.poll() is None:
                time.sleep(0.2)
                share = min(0.95, (time.time() - began) / EXPECTED[name])
                line = f"{name}: {last_line(log)}"
                self.bar.update(self.task, completed=done + share * EXPECTED[name], description=escape(line))
        self.seconds[name] = time.time() - began
        if process.returncode:
            print("".join(log.read_text().splitlines(keepends=True)[-8:]), file=sys.stderr)
            sys.exit(f"error: {name} failed with exit code {process.returncode}, see {log}")


def last_line(log: Path) -> str:
    """Return the end of a log, shortened to fit beside a progress bar."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 500))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip()[:40] for line in reversed(lines) if line.strip()), "")


def backbone_and_detector(chain: Chain, arm: str, data: Path) -> None:
    """Pretrain and evaluate a backbone; convert and verify it, check the data, and train the detector."""
    out, python = chain.out, sys.executable
    run = out / f"pretrain_{arm}"
    chain.run(f"pretrain_{arm}", python, "-m", "pretrain.train", "--config", f"demo_{arm}", "--output", run)
    chain.run(
        f"evaluate_{arm}", python, "-m", "pretrain.evaluate", run, "--json_file", out / f"evaluate_{arm}.json"
    )
    options = ["--config-file", CONFIG, "--data", data / "detection", "--num-gpus", 0, "--seed", 1]
    detector = ["--backbone", run, "--output", out / f"detect_{arm}"]
    chain.run(f"detect_{arm}", python, "-m", "detection.run", *detector, *options)


def reidentify(chain: Chain) -> None:
    """Train the re-ID network with selective erasing and evaluate it."""
    out, python = chain.out, sys.executable
    run, numbers = out / "reid", out / "reid.json"
    chain.run("reid_train", python, "-m", "reid.train", "--config", "demo_selective", "--output", run)
    options = ["--json_file", numbers, "--picture", out / "ranked.png"]
    chain.run("reid_evaluate", python, "-m", "reid.evaluate", run, *options)


def table(chain: Chain) -> list[tuple[str, str, str]]:
    """Read the numbers from the run folders."""
    rows = []
    for arm, name in zip(ARMS, ("CutMix", "KeepCutMix (low resolution)"), strict=True):
        top1 = json.loads((chain.out / f"evaluate_{arm}.json").read_text())["top1"]
        lines = (chain.out / f"detect_{arm}" / "metrics.json").read_text().splitlines()
        boxes = next(row for row in map(json.loads, reversed(lines)) if "bbox/AP" in row)
        rows.append(("classification, top-1 %", name, f"{top1:.1f}"))
        rows.append(("detection, AP / AP50", name, f"{boxes['bbox/AP']:.1f} / {boxes['bbox/AP50']:.1f}"))
    reid = json.loads((chain.out / "reid.json").read_text())
    rows.append(("re-ID, mAP / rank-1", "selective erasing", f"{reid['mAP']:.1f} / {reid['rank1']:.1f}"))
    return sorted(rows, key=lambda row: row[0])


def draw(chain: Chain, data: Path) -> None:
    """Draw the pictures for the page."""
    from detection.coco.pictures import detection_sheet
    from pretrain.picture_sheets import region_sheet

    region_sheet(chain.out / "pretrain_keepcutmix" / "last.pth", chain.out / "regions.png")
    coco = data / "detection" / "coco"
    annotations = coco / "annotations" / "instances_val2017.json"
    runs = [chain.out / "detect_keepcutmix"]
    detection_sheet(runs, annotations, coco / "val2017", chain.out / "detections.png", scale=2)


PAGE = """<!doctype html><meta charset="utf-8"><title>KeepAugment demo</title>
<style>body{{font:16px system-ui;max-width:62em;margin:2em auto;padding:0 1em}}
td,th{{padding:.3em 1em;text-align:left;border-bottom:1px solid #ccc}}img{{max-width:100%}}</style>
<h1>KeepAugment demo</h1><p>One seed, {minutes:.1f} minutes on this machine. The demo shows that the chain works;
it is not a comparison: differences between the arms are within the noise of one short run.</p>
<table><tr><th>task<th>arm<th>result</tr>{rows}</table>
<h2>Where CutMix cuts</h2><p>Rows: image with the plain box (red) and the selective one (green) of the same draw;
saliency (square root); plain result; selective result.</p><img src="regions.png" alt="regions">
<h2>Detections</h2><p>Faster R-CNN from the KeepCutMix backbone, score above 0.5. White: annotation. Green: correct
(class, and IoU of at least 0.5). Red: wrong.</p>
<img src="detections.png" alt="detections">
<h2>Ranked lists</h2><p>Grey: query. Green: same identity from another camera. Red: another identity.</p>
<img src="ranked.png" alt="ranked lists">
"""


def report(chain: Chain, rows: list[tuple[str, str, str]]) -> None:
    """Print the table and write the page."""
    from rich.console import Console
    from rich.table import Table

    printed = Table("task", "arm", "result", title="KeepAugment demo")
    for row in rows:
        printed.add_row(*row)
    Console().print(printed)
    minutes = (time.time() - chain.start) / 60
    cells = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) + "</tr>" for row in rows)
    page = chain.out / "index.html"
    page.write_text(PAGE.format(minutes=minutes, rows=cells))
    result = {"rows": rows, "seconds": chain.seconds, "minutes": minutes}
    (chain.out / "demo.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"{minutes:.1f} minutes. Page with the pictures: {page}")


def main() -> int:
    """Run the chain and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default=str(ROOT / ".demo" / "output"), help="folder for the runs, logs and page")
    out = Path(parser.parse_args().out).resolve()
    if out.exists() and not (out / "demo.log").exists() and any(out.iterdir()):
        print(f"error: {out} contains files that are not from a demo: choose another --out", file=sys.stderr)
        return 2
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "demo.log").touch()

    from detection.table11.launch import train_net
    from engine.errors import guard
    from imagesets.demo.make import ensure

    def command() -> None:
        chain, data = Chain(out), ensure()
        train_net()  # if it is missing, fail now rather than after three minutes
        for arm in ARMS:
            backbone_and_detector(chain, arm, data)
        reidentify(chain)
        draw(chain, data)
        report(chain, table(chain))

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
