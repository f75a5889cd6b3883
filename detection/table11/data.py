"""The data of a training: COCO's built-in sets, or one's own classes, with what train_net.py needs for them."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from detection.coco.folder import COCO_CATEGORIES, names_by_id
from detection.coco.own import OwnData, from_coco, from_yolo
from detection.options import get_option
from detection.run import RunOptions
from detection.table11.launch import train_net
from detection.table11.rows import BATCH
from engine.errors import UserError, check_ranges
from imagesets.coco import annotation_file, read_annotations

REGISTERED = Path(__file__).with_name("registered_train_net.py")


class TrainingData(NamedTuple):
    """What a command of train_net.py needs for its data.

    Attributes:
        script: Python's arguments that start train_net.py.
        environment: environment variables.
        overrides: KEY VALUE pairs that select the data.
        digest: text that tells data sets apart; "" for COCO's built-in ones.
    """

    script: list[str]
    environment: dict[str, str]
    overrides: list[str]
    digest: str = ""


def training_data(options: RunOptions, folder: Path, yaml_file: Path, *, begun: bool) -> TrainingData:
    """Open the data of a run and check it.

    Args:
        options: options of the command.
        folder: OUTPUT_DIR, to which the annotations of own classes are written.
        yaml_file: config of the detector.
        begun: whether the folder holds a run, which must have used the same data.

    Raises:
        UserError: the data were not found or cannot be trained on.

    Source: detectron2/data/datasets/builtin.py.
    """
    check_ranges(options, epochs=(0, None))
    own = _own(options, folder, begun=begun)
    if own is not None:
        named = {"KEEPAUGMENT_DATASETS": str(own.write(folder, begun=begun).resolve())}
        named |= {"KEEPAUGMENT_TRAIN_NET": str(train_net())}
        overrides = [*own.options(), *_schedule(options, yaml_file, own.filled)]
        digest = " ".join(own.digests().values())
        return TrainingData(["-P", str(REGISTERED)], {**os.environ, **named}, overrides, digest)
    if options.epochs:
        raise UserError("epochs: COCO's schedule is the row's; use it with --train and --val or --data data.yaml")
    root = options.data or os.environ.get("DETECTRON2_DATASETS", "datasets")
    if not (Path(root) / "coco" / "annotations").is_dir():
        raise UserError(
            f"data: {root}/coco/annotations not found: give the folder that holds coco/ (DETECTRON2_DATASETS), a "
            "YOLO data.yaml, or --train and --val for classes of your own"
        )
    _check_categories(Path(root))
    named = {"DETECTRON2_DATASETS": str(Path(root).resolve())}
    return TrainingData([str(train_net())], {**os.environ, **named}, [])


def _check_categories(root: Path) -> None:
    """Check that the validation set has COCO's categories, which Detectron2's built-in sets require.

    Raises:
        UserError: it has others.
    """
    file = annotation_file(root, "val2017")
    own = names_by_id(read_annotations(file)["categories"]) if file.is_file() else {}
    if own and own != names_by_id(COCO_CATEGORIES):
        raise UserError(
            f"data: the {len(own)} categories of {file} are not COCO's: train on them with "
            "--train ANNOTATIONS.json:IMAGES and --val ANNOTATIONS.json:IMAGES"
        )


def _own(options: RunOptions, folder: Path, *, begun: bool) -> OwnData | None:
    is_yolo = Path(options.data).suffix in (".yaml", ".yml")
    if options.train or options.val:
        if options.data:
            raise UserError("data: give either --data or --train and --val")
        return from_coco({"train": options.train, "val": options.val})
    if not is_yolo:
        return None
    own, lines = from_yolo(Path(options.data), folder / "annotations", on_bad_box=options.on_bad_box, begun=begun)
    print("\n".join(lines))
    return own


def _schedule(options: RunOptions, yaml_file: Path, images: int) -> list[str]:
    """Scale the row's schedule to a number of epochs, and its learning rate to the batch.

    Warm-up is at most a tenth of it; ten times on the way, the detector is saved and evaluated.
    """
    if options.quick:
        return []
    solver: dict[str, Any] = yaml.safe_load(yaml_file.read_text()).get("SOLVER", {})
    batch = int(get_option(options.overrides, "SOLVER.IMS_PER_BATCH") or solver.get("IMS_PER_BATCH", BATCH))
    if not options.epochs:
        iterations = int(get_option(options.overrides, "SOLVER.MAX_ITER") or solver.get("MAX_ITER", 0))
        epochs = iterations * batch / images
        print(
            f"remark: {iterations} iterations of {batch} are {epochs:.0f} epochs of {images} images; see --epochs"
        )
        return []
    total = -(-options.epochs * images // batch)
    keys = {
        "SOLVER.MAX_ITER": total,
        "SOLVER.STEPS": f"({total * 7 // 9},{total * 25 // 27})",  # 210,000 and 250,000 of 270,000
        "SOLVER.WARMUP_ITERS": min(int(solver.get("WARMUP_ITERS", 1000)), total // 10),
        "SOLVER.BASE_LR": float(solver.get("BASE_LR", 0.001)) * batch / int(solver.get("IMS_PER_BATCH", BATCH)),
        "SOLVER.CHECKPOINT_PERIOD": max(1, total // 10),
        "TEST.EVAL_PERIOD": max(1, total // 10),
    }
    return [str(word) for item in keys.items() for word in item]
