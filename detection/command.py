"""What ``tools/convert_to_d2.py`` does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from detection.convert import choose_arch, convert
from detection.load import load
from detection.verify import TOLERANCE, verify
from detection.write import config_keys, write
from keepcore.run.folder import provenance


def convert_file(arguments: argparse.Namespace) -> int:
    """Convert a checkpoint, print what was done and how to use it.

    Args:
        arguments: checkpoint, output, arch, use, verify.

    Returns:
        0, or 1 when the verification found a difference.

    Raises:
        UserError: the checkpoint cannot be read or converted, or the output not written.

    Source: the suite's command line.
    """
    source, output = Path(arguments.checkpoint), Path(arguments.output)
    loaded = load(source, arguments.use)
    name, arch, warning = choose_arch(loaded.state, loaded.arch, arguments.arch)
    converted = convert(loaded.state, arch)
    made: dict[str, Any] = {
        "arch": name,
        "weights": loaded.key,
        "source": source.name,
        "source_sha256": loaded.sha256,
        "mean": loaded.mean,
        "std": loaded.std,
        "format": "RGB",
        "stride_in_1x1": False,
        "tool": provenance(),
    }
    write(converted, output, made)
    for note in (*loaded.notes, *([f"warning: {warning}"] if warning else [])):
        print(note)
    print(
        f"{source}: {name}, weights {loaded.key}, prefix {loaded.prefix!r} -> {output}: {len(converted)} tensors"
    )
    print("\nConfig keys that belong to these weights:\n")
    print(yaml.safe_dump(config_keys(arch, output, loaded.mean, loaded.std), sort_keys=False))
    print(f"Train:  python train_net.py --config-file CONFIG.yaml MODEL.WEIGHTS {output.resolve()}")
    if not arguments.verify:
        return 0
    return _report(verify(loaded.state, name, arch, output, loaded.mean, loaded.std))


def _report(differences: dict[str, float]) -> int:
    good = all(value < TOLERANCE for value in differences.values())
    print("\nThrough Detectron2, largest difference / largest feature (0 is equal):")
    for stage, value in differences.items():
        print(f"  {stage}  {value:.1e}  {'ok' if value < TOLERANCE else 'DIFFERENT'}")
    print("verified" if good else f"verification FAILED: tolerance {TOLERANCE:.0e}")
    return 0 if good else 1
