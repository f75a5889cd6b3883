"""``python -m detection.run --backbone RUN_DIR --row fpn_r50 --output OUT``: from a backbone to its number.

Converts and verifies the backbone, checks it against the config, runs Detectron2's own train_net.py, prints the
row. What is done already is not done again; --resume continues the training. Overrides at the end go to
train_net.py (``... SOLVER.AMP.ENABLED True``), as do --num-gpus, --num-machines, --machine-rank and --dist-url.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from detection.collect import MADE, CollectConfig, collect, read_note
from detection.options import get_option, split_options
from detection.rows import find_row, quick_options
from engine.errors import UserError, guard

PROG = "python -m detection.run"
RESUME, WEIGHTS = "--resume", "backbone.pth"


@dataclass(frozen=True)
class RunConfig:
    """Train a detector of Table 11 on a backbone, and print its number beside the paper's.

    Attributes:
        backbone: checkpoint or run folder of the backbone, or a file that is converted already.
        output: OUTPUT_DIR of train_net.py; the converted file goes there too.
        row: c4_r50, fpn_r50, retinanet_r50, or the same with r101.
        config_file: a YAML file of your own instead of a row.
        data: DETECTRON2_DATASETS, the folder that holds coco/; "" leaves the variable as it is.
        arch: architecture of the backbone, where its file does not name it.
        use: auto, ema or raw weights.
        arm: name in the table; "" asks the backbone's recipe (plain, CutMix, KeepCutMix, ...).
        seed: SEED of Detectron2; -1 draws one.
        quick: two iterations on small images on the CPU: shows that everything fits together.
        resume: continue the training in the output folder.
        eval_only: evaluate the output folder's last checkpoint.
        num_gpus: per machine; 0 is the CPU.
        num_machines: of all.
        machine_rank: of this one.
        dist_url: of the first machine; "" is Detectron2's default.
    """

    backbone: str
    output: str
    row: str = ""
    config_file: str = ""
    data: str = ""
    arch: str = ""
    use: str = "auto"
    arm: str = ""
    seed: int = -1
    quick: bool = False
    resume: bool = False
    eval_only: bool = False
    num_gpus: int = 1
    num_machines: int = 1
    machine_rank: int = 0
    dist_url: str = ""


def run(config: RunConfig, options: Sequence[str] = ()) -> int:
    """Do the chain.

    Args:
        config: of the command.
        options: KEY VALUE overrides; they win over everything.

    Returns:
        0; 1 when the verification or the check found something wrong; the exit code of train_net.py otherwise.

    Raises:
        UserError: neither row nor config file, no data, or a backbone that does not convert.
    """
    yaml_file = _config_file(config)
    folder = Path(config.output)
    environment = _environment(config)
    _check_gpus(config, options)
    if _continues(config, folder):
        _check_same(config, folder)
    else:
        code = _prepare(config, folder, yaml_file, options)
        if code:
            return code
    command = train_command(config, yaml_file, folder / WEIGHTS, options)
    print(f"\n{' '.join(command)}\n", flush=True)
    code = subprocess.run(command, env=environment, check=False).returncode
    if code or config.machine_rank or config.eval_only:  # an evaluation prints its own table
        return code
    print(collect(CollectConfig((str(folder),))))
    return 0


def train_command(config: RunConfig, yaml_file: Path, weights: Path, options: Sequence[str]) -> list[str]:
    """Write the command of train_net.py.

    Args:
        config: of the chain.
        yaml_file: the detector's config.
        weights: the converted backbone.
        options: the user's overrides, put last so that they win.

    Source: detectron2/engine/defaults.py.
    """
    from detection.table11.launch import train_net

    gpus = 0 if config.quick else config.num_gpus
    flags = ["--config-file", yaml_file, "--num-gpus", gpus, "--num-machines", config.num_machines]
    flags += ["--machine-rank", config.machine_rank]
    flags += ["--dist-url", config.dist_url] if config.dist_url else []
    flags += [RESUME] if config.resume else []
    flags += ["--eval-only", RESUME] if config.eval_only else []  # evaluates the last checkpoint, not the backbone
    keys = [*quick_options()] if config.quick else []
    keys += ["MODEL.WEIGHTS", weights.resolve(), "OUTPUT_DIR", Path(config.output).resolve()]
    keys += ["SEED", config.seed] if config.seed >= 0 else []
    keys += ["MODEL.DEVICE", "cpu"] if gpus == 0 and not config.quick else []
    return [sys.executable, *map(str, [train_net(), *flags, *keys, *options])]


def _config_file(config: RunConfig) -> Path:
    if bool(config.row) == bool(config.config_file):
        raise UserError("row: give either --row (e.g. fpn_r50) or --config-file FILE.yaml")
    path = find_row(config.row).path if config.row else Path(config.config_file)
    if not path.is_file():
        raise UserError(f"config_file: no file {path}")
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"config_file: {path.name} is no YAML; lazyconfig_train_net.py runs LazyConfigs")
    return path.resolve()


def _continues(config: RunConfig, folder: Path) -> bool:
    """Whether the run in the folder goes on; never train over another run, never resume nothing."""
    begun = (folder / "last_checkpoint").is_file()
    if (config.resume or config.eval_only) and not begun:
        raise UserError(f"nothing to resume: {folder} holds no checkpoint of train_net.py")
    if begun and not (config.resume or config.eval_only):
        raise UserError(f"{folder} already holds a run: --resume continues it, or give another --output")
    return begun


def _check_same(config: RunConfig, folder: Path) -> None:
    """Refuse to continue a run under the name of another backbone or row."""
    note = read_note(folder)
    if not note or not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder} was not begun by detection.run: continue it with train_net.py --resume")
    if _origin(Path(config.backbone)) != note["origin"]:
        raise UserError(
            f"{folder} was trained from another backbone than {config.backbone}: give another --output"
        )
    named = config.row or Path(config.config_file).name
    if named != note["row"]:
        raise UserError(f"{folder} was trained with {note['row']}, not with {named}: give another --output")


def _origin(backbone: Path) -> str:
    """SHA-256 of the checkpoint that a backbone comes from: what a converted file recorded, or the file's own."""
    from detection.checkpoints.write import read
    from networks.weights import digest, find

    source = find(backbone)
    recorded = read(source)[1].get("source_sha256") if _is_converted(source) else None
    return str(recorded or digest(source))


def _check_gpus(config: RunConfig, options: Sequence[str]) -> None:
    import torch

    if config.quick or config.num_gpus == 0:
        return
    if not torch.cuda.is_available():
        raise UserError(
            "num_gpus: there is no GPU here: --quick tries the chain on the CPU, --num-gpus 0 trains on it"
        )
    scaled = get_option(options, "SOLVER.REFERENCE_WORLD_SIZE") or get_option(options, "SOLVER.IMS_PER_BATCH")
    gpus = config.num_gpus * config.num_machines
    if config.row and gpus != 8 and not scaled:
        print(
            f"remark: 16 images a step on {gpus} GPUs; SOLVER.REFERENCE_WORLD_SIZE 8 would scale batch, learning "
            "rate and schedule from the row's 8 GPUs to yours"
        )


def _environment(config: RunConfig) -> dict[str, str]:
    root = config.data or os.environ.get("DETECTRON2_DATASETS", "datasets")
    if not (Path(root) / "coco" / "annotations").is_dir():
        raise UserError(
            f"data: no {root}/coco/annotations: give the folder that holds coco/ (DETECTRON2_DATASETS)"
        )
    return {**os.environ, "DETECTRON2_DATASETS": str(Path(root).resolve())}


def _prepare(config: RunConfig, folder: Path, yaml_file: Path, options: Sequence[str]) -> int:
    """Convert, verify, check; only what passed takes its place in the folder."""
    hidden = folder / f".{os.getpid()}.{WEIGHTS}"
    try:
        code = _convert(config, hidden) or _check(yaml_file, hidden, options)
        if not code:
            _write_note(config, folder, hidden)
            os.replace(hidden, folder / WEIGHTS)
        return code
    finally:
        hidden.unlink(missing_ok=True)


def _convert(config: RunConfig, weights: Path) -> int:
    """Convert and verify; take a file that is converted already as it is."""
    from detection.checkpoints.convert_file import Conversion, convert_file
    from detection.checkpoints.write import read, write
    from networks.weights import find

    source = find(Path(config.backbone))
    if _is_converted(source):
        tensors, made = read(source)
        write(tensors, weights, made)
        return 0
    asked = Conversion(source, weights, arch=config.arch, use=config.use, verify=True, explain=False)
    return convert_file(asked)


def _is_converted(path: Path) -> bool:
    from detection.checkpoints.write import read

    if path.suffix not in (".pth", ".pkl"):
        return False
    try:
        return "stem.conv1.weight" in read(path)[0]
    except UserError:
        return False


def _check(yaml_file: Path, weights: Path, options: Sequence[str]) -> int:
    from detection.check import check, report

    return report(*check(yaml_file, weights, options))


def _write_note(config: RunConfig, folder: Path, weights: Path) -> None:
    """Leave a note for detection.collect, and for resuming."""
    from detection.checkpoints.write import read
    from engine.checkpoint import replacing

    made = read(weights)[1]
    content = {
        "arm": config.arm or made.get("augment") or Path(config.backbone).stem,
        "row": config.row or Path(config.config_file).name,
        "origin": _origin(Path(config.backbone)),
        "seed": config.seed,
        "gpus": 0 if config.quick else config.num_gpus * config.num_machines,
        "backbone": made,
    }
    with replacing(folder / MADE) as file:
        file.write((json.dumps(content, indent=1) + "\n").encode())


def main(argv: Sequence[str] | None = None) -> int:
    """Read the command line and run the chain; returns the exit code."""

    def command() -> int:
        from engine.command import parse

        ours, options = split_options(argv)
        config = parse(RunConfig, ours, prog=PROG, description=str(__doc__))
        if get_option(options, "OUTPUT_DIR"):
            config = replace(config, output=str(get_option(options, "OUTPUT_DIR")))
        return run(config, options)

    return guard(command)


if __name__ == "__main__":
    sys.exit(main())
