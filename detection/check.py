"""Check weights against a Detectron2 config before spending GPU hours.

Builds the detector on the CPU, loads the weights as train_net.py does, and reports what Detectron2 only warns
about or does not notice: tensors that stay random, or a wrong channel order, mean or stride. Exit codes: 0: the
weights fit. 1: there are problems, one per line with the override that corrects it. 2: the check cannot be run.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import REST, positional


@dataclass(frozen=True)
class CheckOptions:
    """Check weights against a Detectron2 config before spending GPU hours.

    Attributes:
        words: YAML config of train_net.py or LazyConfig .py of lazyconfig_train_net.py; converted backbone, .pth
            or .pkl; overrides in the format of those scripts.
        config_file: config file, if not given as the first positional argument.
        weights: converted backbone, if not given as the next positional argument.
    """

    words: tuple[str, ...] = positional(nargs=REST, default=(), metavar="CONFIG WEIGHTS [KEY VALUE ...]")
    config_file: str = ""
    weights: str = ""


main = command(CheckOptions, "detection.detectors.check:run")

if __name__ == "__main__":
    sys.exit(main())
