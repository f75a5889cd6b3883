"""Evaluate a re-ID network, or features of any toolbox: CMC, mAP and mINP with 95 % intervals.

CHECKPOINT is a run folder or checkpoint of reid.train. ``--features FILE.npz`` evaluates features of any toolbox
instead (arrays query_features, query_ids, query_cams and the same for the gallery; without cams, no image is left
out). The numbers are printed to stdout as JSON, a table and remarks to stderr. ``reid.compare`` tests whether two
runs or feature files differ.
"""

import sys
from dataclasses import dataclass

from engine.command import command
from engine.parser import positional
from reid.config import Evaluation


@dataclass(frozen=True)
class EvaluateOptions(Evaluation):
    """Evaluate a re-identification network, or features of any toolbox.

    Attributes:
        checkpoint: .pth of reid.train, or its run folder (uses last.pth).
        features: .npz of features to evaluate instead of a checkpoint.
        save_features: .npz file to write the features to; "" writes none.
        picture: .png or .jpg file to draw the ranked lists of some queries to; "" draws none.
        page: HTML file to write the numbers and pictures to; "" writes none.
    """

    checkpoint: str = positional(nargs="?", default="")
    features: str = ""
    save_features: str = ""
    picture: str = ""
    page: str = ""


main = command(EvaluateOptions, "reid.evaluation.command:evaluate")

if __name__ == "__main__":
    sys.exit(main())
