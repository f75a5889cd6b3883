"""Check weights against a Detectron2 config before GPU-hours are spent.

Builds the detector on the CPU, loads the weights as train_net.py does, and reports what Detectron2 only warns
about or does not notice: tensors that stay random, another channel order, mean or stride. Exit code 0: fits. 1:
something is wrong, one line each with the override that corrects it. 2: cannot be checked.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import REST, positional


@dataclass(frozen=True)
class CheckOptions:
    """Check weights against a Detectron2 config before GPU-hours are spent.

    Attributes:
        words: YAML file of train_net.py or LazyConfig .py of lazyconfig_train_net.py; converted backbone, .pth or
            .pkl; overrides as those scripts take them.
        config_file: config, where it is not the first word.
        weights: converted backbone, where it is not the next word.
    """

    words: tuple[str, ...] = positional(nargs=REST, default=(), metavar="CONFIG WEIGHTS [KEY VALUE ...]")
    config_file: str = ""
    weights: str = ""


main = command(CheckOptions, "detection.detectors.check:run")

if __name__ == "__main__":
    sys.exit(main())
