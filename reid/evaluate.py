"""Evaluate a re-ID network, or features of any toolbox: CMC, mAP, mINP, with 95 % intervals.

CHECKPOINT is a run folder or checkpoint of reid.train. ``--features FILE.npz`` takes features of any toolbox
instead (arrays query_features, query_ids, query_cams and the same for the gallery; without cams no image is left
out). Numbers go to stdout as JSON, a table and remarks to stderr. ``reid.compare`` tests two of either against one
another.
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
        checkpoint: .pth of reid.train, or its run folder (then last.pth).
        features: .npz with features to evaluate instead of a checkpoint.
        save_features: .npz that receives the features; "" writes none.
        picture: .png or .jpg that receives ranked lists of some queries; "" draws none.
        page: HTML file that receives numbers and pictures; "" writes none.
    """

    checkpoint: str = positional(nargs="?", default="")
    features: str = ""
    save_features: str = ""
    picture: str = ""
    page: str = ""


main = command(EvaluateOptions, "reid.evaluation.run:evaluate")

if __name__ == "__main__":
    sys.exit(main())
