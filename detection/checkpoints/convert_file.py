"""Implementation of ``tools/convert_to_d2.py``."""

import os
import sys
from collections.abc import Callable
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
from networks.metadata import check_normalisation
from networks.weights import Loaded, find, load


@dataclass(frozen=True)
class Conversion:
    """Options of a conversion.

    Attributes:
        source: checkpoint or run folder.
        output: file to write, .pth or .pkl.
        arch: name of the architecture, if the file does not name it.
        use: weights to convert: auto, ema, raw, or a top-level key.
        keep_fc: keep the classifier too.
        check: called with the converted file before it is verified and moved to its place; 0 lets it pass.
        verify: compare features through Detectron2 before the output file is replaced.
        explain: print the config keys and the training command.
        mean: mean of the normalisation, for values in [0, 1]; () uses the one in the file.
        std: standard deviation, likewise.
    """

    source: Path
    output: Path
    arch: str = ""
    use: str = "auto"
    keep_fc: bool = False
    check: Callable[[Path], int] = lambda path: 0
    verify: bool = False
    explain: bool = True
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def convert_file(options: Conversion) -> int:
    """Convert a checkpoint, and print a summary and how to use the result.

    Args:
        options: options of the conversion.

    Returns:
        0; 1 if the verification found a difference, or the exit code of the check; then nothing is written.

    Raises:
        UserError: the checkpoint cannot be read or converted, or the output cannot be written.

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
    record = _provenance(options, loaded, name, arch) | (
        {} if loaded.arch or options.arch else {"arch_assumed": True}
    )
    for note in (*loaded.notes, *([f"warning: {warning}"] if warning else [])):
        print(note, file=sys.stderr)
    hidden = options.output.with_name(f".{options.output.stem}.{os.getpid()}{options.output.suffix}")
    try:
        write(converted, hidden, record)
        code = options.check(hidden)
        if code:
            return code
        if options.verify and not _verified(loaded, name, arch, hidden):
            return 1
        os.replace(hidden, options.output)
    finally:
        with suppress(OSError):  # it has been moved, or could not be written
            hidden.unlink()
    print(
        f"{options.source}: {name}, weights {loaded.key}, prefix {loaded.prefix!r} -> "
        f"{options.output}: {len(converted)} tensors, with the names and shapes that Detectron2 expects"
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
    print("\nConfig keys for these weights:\n")
    keys = config_keys(arch, options.output, loaded.mean, loaded.std)
    print(yaml.safe_dump(keys, sort_keys=False, default_flow_style=None))
    print(f"Train:\n  {train_command(arch, options.output, loaded.mean, loaded.std)}")


def _verified(loaded: Loaded, name: str, arch: Arch, weights: Path) -> bool:
    """Compare features through Detectron2 if it is installed; print a table and return whether they agree."""
    if not is_installed():
        print("NOT verified: Detectron2 is not installed, so only names, shapes and values were checked")
        return True
    differences = verify(loaded.state, name, arch, weights, loaded.mean, loaded.std)
    good = all(value < TOLERANCE for value in differences.values())
    print("Largest difference / largest feature, computed by Detectron2 (0 means equal):")
    for stage, value in differences.items():
        print(f"  {stage:14} {value:.1e}  {'ok' if value < TOLERANCE else 'DIFFERENT'}")
    print("verified\n" if good else f"verification FAILED (tolerance {TOLERANCE:.0e}); nothing was written")
    return good
