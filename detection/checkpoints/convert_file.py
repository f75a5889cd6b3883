"""What ``tools/convert_to_d2.py`` does."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from detection.checkpoints.arch import Arch
from detection.checkpoints.convert import choose_arch, convert
from detection.checkpoints.write import check_suffix, config_keys, train_command, write
from detection.detectors.verify import TOLERANCE, is_installed, verify
from engine.errors import UserError
from engine.run_folder import provenance
from networks.weights import Loaded, check_normalisation, find, load


@dataclass(frozen=True)
class Conversion:
    """One conversion.

    Attributes:
        source: checkpoint, or run folder.
        output: .pth or .pkl.
        arch: name of the architecture, where the file does not name it.
        use: auto, ema, raw, or a top-level key.
        keep_fc: carry the classifier over too.
        verify: compare features through Detectron2 before the file takes its place.
        explain: print the config keys and the command to train with.
        mean: of the normalisation, of values in [0, 1]; () is what the file says.
        std: the same.
    """

    source: Path
    output: Path
    arch: str = ""
    use: str = "auto"
    keep_fc: bool = False
    verify: bool = False
    explain: bool = True
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def convert_file(options: Conversion) -> int:
    """Convert a checkpoint, print what was done and how to use it.

    Args:
        options: what to convert to what.

    Returns:
        0, or 1 when the verification found a difference: then nothing is written.

    Raises:
        UserError: the checkpoint cannot be read or converted, or the output not written.

    Source: the suite's command line.
    """
    check_suffix(options.output)
    if options.output.resolve() == find(options.source).resolve():
        raise UserError(f"{options.output} is the checkpoint itself: give another output")
    loaded = load(options.source, options.use)
    normalisation = {name: getattr(options, name) or getattr(loaded, name) for name in ("mean", "std")}
    loaded = loaded._replace(**{name: check_normalisation(name, values) for name, values in normalisation.items()})
    name, arch, warning = choose_arch(loaded.state, loaded.arch, options.arch)
    converted = convert(loaded.state, arch, keep_fc=options.keep_fc)
    record = _provenance(options, loaded, name, arch)
    for note in (*loaded.notes, *([f"warning: {warning}"] if warning else [])):
        print(note, file=sys.stderr)
    hidden = options.output.with_name(f".{options.output.stem}.{os.getpid()}{options.output.suffix}")
    try:
        write(converted, hidden, record)
        if options.verify and not _verified(loaded, name, arch, hidden):
            return 1
        os.replace(hidden, options.output)
    finally:
        with suppress(OSError):  # it was moved, or could not be written
            hidden.unlink()
    print(
        f"{options.source}: {name}, weights {loaded.key}, prefix {loaded.prefix!r} -> "
        f"{options.output}: {len(converted)} tensors, all names and shapes as Detectron2 expects them"
    )
    if options.explain:
        _explain(options, loaded, arch)
    return 0


def _provenance(options: Conversion, loaded: Loaded, name: str, arch: Arch) -> dict[str, Any]:
    return {
        "arch": name,
        "depth": arch.depth,
        "norm": arch.norm,
        "use": options.use,
        "weights": loaded.key,
        "augment": loaded.augment,
        "source": find(options.source).name,
        "source_sha256": loaded.sha256,
        "mean": loaded.mean,
        "std": loaded.std,
        "format": "RGB",
        "stride_in_1x1": False,
        "tool": {key: value for key, value in provenance().items() if key != "command"},
    }


def _explain(options: Conversion, loaded: Loaded, arch: Arch) -> None:
    print("\nConfig keys that belong to these weights:\n")
    keys = config_keys(arch, options.output, loaded.mean, loaded.std)
    print(yaml.safe_dump(keys, sort_keys=False, default_flow_style=None))
    print(f"Train:\n  {train_command(arch, options.output, loaded.mean, loaded.std)}")


def _verified(loaded: Loaded, name: str, arch: Arch, weights: Path) -> bool:
    """Compare through Detectron2 where it is installed; print the table."""
    if not is_installed():
        print("NOT verified: Detectron2 is not installed, so only names, shapes and values were checked")
        return True
    differences = verify(loaded.state, name, arch, weights, loaded.mean, loaded.std)
    good = all(value < TOLERANCE for value in differences.values())
    print("Through Detectron2, largest difference / largest feature (0 is equal):")
    for stage, value in differences.items():
        print(f"  {stage:14} {value:.1e}  {'ok' if value < TOLERANCE else 'DIFFERENT'}")
    print("verified\n" if good else f"verification FAILED: tolerance {TOLERANCE:.0e}; nothing was written")
    return good
