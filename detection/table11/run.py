"""Trains a row of Table 11 on a backbone, with Detectron2's own train_net.py."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detection.checkpoints.convert_file import Conversion, convert_file
from detection.checkpoints.foreign import MSRA_INPUT, MSRA_WEIGHTS
from detection.checkpoints.write import SUFFIXES, input_options, read, write
from detection.collect import CollectOptions
from detection.detectors.build import local_file
from detection.detectors.check import check
from detection.options import check_overrides, get_option
from detection.run import RunOptions
from detection.table11.collect import collect
from detection.table11.data import training_data
from detection.table11.launch import locked, run_to_end
from detection.table11.rows import find_row, quick_options
from detection.table11.run_note import read_note, write_note
from engine.errors import UserError, check_choices
from networks.weights import digest, find

RESUME, WEIGHTS = "--resume", "backbone.pth"


def run(options: RunOptions) -> int:
    """Convert, check, train, and print the row, for ``python -m detection.run``.

    Args:
        options: options of the command; its KEY VALUE overrides take precedence.

    Returns:
        0; 1 if the verification or the check found a problem; otherwise, the exit code of train_net.py.

    Raises:
        UserError: the row, the config file or the data are missing, or the backbone cannot be converted.
    """
    check_overrides(options.overrides)
    options = _with_baseline(options)
    options = replace(options, output=get_option(options.overrides, "OUTPUT_DIR") or options.output)
    if get_option(options.overrides, "MODEL.WEIGHTS"):
        raise UserError("MODEL.WEIGHTS is what --backbone is converted to: give the weights as --backbone")
    yaml_file, folder = _config_file(options), Path(options.output)
    _check_gpus(options)
    existed = folder.exists()
    with locked(folder, options.machine_rank) as lock:
        try:
            code = _run(options, yaml_file, folder, lock)
        finally:
            _remove_if_empty(folder, f".lock{options.machine_rank}", existed)
    if code or options.machine_rank or options.eval_only:  # an evaluation prints its own table
        return code
    collect(CollectOptions((str(folder),)))
    return 0


def _run(options: RunOptions, yaml_file: Path, folder: Path, lock: int) -> int:
    """Prepare the folder and run train_net.py to its end; return the exit code."""
    begun = _continues(options, folder)
    data = training_data(options, folder, yaml_file, begun=begun)
    options = replace(options, overrides=(*data.overrides, *options.overrides))
    if begun:
        _check_same(options, folder)
    else:
        code = _prepare(options, folder, yaml_file, data.digest)
        if code:
            return code
    command = train_command(options, yaml_file, folder / WEIGHTS, data.script)
    named = [f"{name}={value}" for name, value in data.environment.items() if os.environ.get(name) != value]
    print(f"\n{shlex.join([*named, *command])}\n", flush=True)
    return run_to_end(command, data.environment, (lock,))


def _remove_if_empty(folder: Path, lock: str, existed: bool) -> None:
    """Leave nothing behind where nothing began."""
    if [path.name for path in folder.iterdir()] == [lock]:
        (folder / lock).unlink()
        if not existed:
            folder.rmdir()


def _with_baseline(options: RunOptions) -> RunOptions:
    """Fill in the weights and the input settings of a baseline; the user's overrides still come last."""
    check_choices(options)
    if options.baseline == "none":
        if not options.backbone:
            raise UserError("backbone: give --backbone RUN_OR_CHECKPOINT, or --baseline zoo for the zoo's weights")
        return options
    if not options.row:
        raise UserError("baseline: give --row, whose weights and input settings --baseline zoo takes")
    weights = options.backbone or MSRA_WEIGHTS[f"resnet{find_row(options.row).depth}"]
    arm, overrides = options.arm or options.baseline, (*input_options(MSRA_INPUT), *options.overrides)
    return replace(options, backbone=weights, arm=arm, overrides=overrides)


def train_command(options: RunOptions, yaml_file: Path, weights: Path, script: Sequence[str]) -> list[str]:
    """Return the command that runs train_net.py.

    Args:
        options: options of the command; the overrides come last, so that they take precedence.
        yaml_file: config of the detector.
        weights: converted backbone.
        script: Python's arguments that start train_net.py.

    Source: detectron2/engine/defaults.py.
    """
    gpus = 0 if options.quick else options.num_gpus
    flags = ["--config-file", yaml_file, "--num-gpus", gpus, "--num-machines", options.num_machines]
    flags += ["--machine-rank", options.machine_rank]
    flags += ["--dist-url", options.dist_url] if options.dist_url else []
    flags += [RESUME] if options.resume else []
    # With both flags, train_net.py evaluates the last checkpoint; with --eval-only alone, the backbone.
    flags += ["--eval-only", RESUME] if options.eval_only else []
    keys = [*quick_options()] if options.quick else []
    keys += ["MODEL.WEIGHTS", weights.resolve(), "OUTPUT_DIR", Path(options.output).resolve()]
    keys += ["SEED", options.seed] if options.seed >= 0 else []
    keys += ["MODEL.DEVICE", "cpu"] if gpus == 0 and not options.quick else []
    return [sys.executable, *script, *map(str, [*flags, *keys, *options.overrides])]


def _config_file(options: RunOptions) -> Path:
    if bool(options.row) == bool(options.config_file):
        raise UserError("row: give either --row, e.g. fpn_r50, or --config-file FILE.yaml")
    path = find_row(options.row).path if options.row else Path(options.config_file)
    if not path.is_file():
        raise UserError(f"config_file: {path} not found")
    if path.suffix not in (".yaml", ".yml"):
        raise UserError(f"config_file: {path.name} is not a YAML file; lazyconfig_train_net.py takes LazyConfigs")
    return path.resolve()


def _continues(options: RunOptions, folder: Path) -> bool:
    """Return whether to continue the run in the folder; never overwrite a run or resume a missing one."""
    begun = (folder / "last_checkpoint").is_file()
    if (options.resume or options.eval_only) and not begun:
        raise UserError(f"nothing to resume: {folder} holds no checkpoint of train_net.py")
    if begun and not (options.resume or options.eval_only):
        raise UserError(f"{folder} already holds a run: continue it with --resume, or give another --output")
    return begun


def _check_same(options: RunOptions, folder: Path) -> None:
    """Check that a run is not continued with another backbone or row."""
    note = read_note(folder)
    if not note or not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder} was not started by detection.run: continue it with train_net.py --resume")
    if options.backbone != note.get("address") and origin_of(options.backbone) != note["origin"]:
        raise UserError(
            f"{folder} was trained from a backbone other than {options.backbone}: give another --output"
        )
    row = options.row or Path(options.config_file).name
    if row != note["row"]:
        raise UserError(f"{folder} was trained with {note['row']}, not with {row}: give another --output")


def origin_of(backbone: str) -> str:
    """Return the SHA-256 of a backbone's source: as recorded in a converted file, or of the file itself."""
    source = find(local_file(backbone))
    converted = _read_converted(source)
    recorded = converted[1].get("source_sha256") if converted else None
    return str(recorded or digest(source))


def _check_gpus(options: RunOptions) -> None:
    if options.quick or options.num_gpus == 0:
        return
    if not torch.cuda.is_available():
        raise UserError(
            "num_gpus: no GPU is available: use --quick for a test on the CPU, or --num-gpus 0 to train on it"
        )
    scaled = get_option(options.overrides, "SOLVER.REFERENCE_WORLD_SIZE") or get_option(
        options.overrides, "SOLVER.IMS_PER_BATCH"
    )
    gpus = options.num_gpus * options.num_machines
    if options.row and gpus != 8 and not scaled:
        print(
            f"remark: 16 images per step on {gpus} GPUs; add SOLVER.REFERENCE_WORLD_SIZE 8 to scale batch, "
            "learning rate and schedule from the row's 8 GPUs to this number"
        )


def _prepare(options: RunOptions, folder: Path, yaml_file: Path, data: str) -> int:
    """Convert, check and verify; the weights enter the folder only if they pass."""
    hidden = folder / f".{os.getpid()}.{WEIGHTS}"
    try:
        code = _convert(options, hidden, lambda file: check(yaml_file, file, options.overrides).show())
        if not code:
            _write_note(options, folder, hidden, data)
            os.replace(hidden, folder / WEIGHTS)
        return code
    finally:
        hidden.unlink(missing_ok=True)


def _convert(options: RunOptions, weights: Path, fits: Callable[[Path], int]) -> int:
    """Convert, check and verify a backbone; an already converted file is copied and checked."""
    source = find(local_file(options.backbone))
    converted = _read_converted(source)
    if options.baseline == "zoo" and (not converted or converted[1].get("augment") != "zoo"):
        raise UserError(f"baseline: {options.backbone} does not hold the zoo's weights (MSRA's R-50 or R-101)")
    if converted:
        tensors, provenance = converted
        write(tensors, weights, provenance)
        return fits(weights)
    return convert_file(
        Conversion(source, weights, arch=options.arch, use=options.use, check=fits, verify=True, explain=False)
    )


def _read_converted(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read the tensors and the provenance of an already converted file; return None for any other file."""
    if path.suffix not in SUFFIXES:
        return None
    try:
        tensors, provenance = read(path)
    except UserError:
        return None
    return (tensors, provenance) if "stem.conv1.weight" in tensors else None


def _write_note(options: RunOptions, folder: Path, weights: Path, data: str) -> None:
    """Write a note for detection.collect and for resuming."""
    provenance = read(weights)[1]
    write_note(
        folder,
        {
            "arm": options.arm or provenance.get("augment") or Path(options.backbone).stem,
            "row": options.row or Path(options.config_file).name,
            "origin": origin_of(options.backbone),
            "address": options.backbone if "://" in options.backbone else "",
            "seed": options.seed,
            "quick": options.quick,
            "data": data,
            "gpus": 0 if options.quick else options.num_gpus * options.num_machines,
            "backbone": provenance,
        },
    )
