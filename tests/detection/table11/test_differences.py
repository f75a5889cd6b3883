"""Foreign runs are never taken for a row of Table 11, and unlike runs are never averaged."""

import json

import pytest
import yaml

from detection.table11.collect import tabulate
from detection.table11.outputs import read_run
from detection.table11.rows import ROWS


def whole_config(row, **changes):
    from detectron2.config import get_cfg

    cfg = get_cfg()
    cfg.merge_from_file(str(ROWS[row].path))
    for key, value in changes.items():
        cfg.merge_from_list([key.replace("__", "."), value])
    return yaml.safe_load(cfg.dump())


def output_dir(folder, ap, cfg, arm="plain"):
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(cfg))
    row = {"bbox/AP": ap, "iteration": cfg["SOLVER"]["MAX_ITER"] - 1}
    (folder / "metrics.json").write_text(json.dumps(row) + "\n")
    (folder / "keepaugment.json").write_text(json.dumps({"arm": arm, "gpus": 8}))
    return str(folder)


FOREIGN = {
    "mask": ({"MODEL__MASK_ON": True}, "MODEL.MASK_ON True instead of False"),
    "keypoint": ({"MODEL__KEYPOINT_ON": True}, "MODEL.KEYPOINT_ON"),
    "cascade": ({"MODEL__ROI_HEADS__NAME": "CascadeROIHeads"}, "MODEL.ROI_HEADS.NAME CascadeROIHeads"),
    "group norm": ({"MODEL__RESNETS__NORM": "GN"}, "MODEL.RESNETS.NORM GN instead of FrozenBN"),
    "deformable": ({"MODEL__RESNETS__DEFORM_ON_PER_STAGE": [False, True, True, True]}, "DEFORM_ON_PER_STAGE"),
    "dilated": ({"MODEL__RESNETS__RES5_DILATION": 2}, "RES5_DILATION 2 instead of 1"),
    "ResNeXt": ({"MODEL__RESNETS__NUM_GROUPS": 32}, "NUM_GROUPS 32 instead of 1"),
    "other data": ({"DATASETS__TRAIN": ("lvis_v1_train",)}, "DATASETS.TRAIN ['lvis_v1_train']"),
    "tested on training data": ({"DATASETS__TEST": ("coco_2017_train",)}, "DATASETS.TEST"),
    "small images": ({"INPUT__MIN_SIZE_TEST": 320}, "INPUT.MIN_SIZE_TEST 320 instead of 800"),
    "another rate": ({"SOLVER__BASE_LR": 0.1}, "SOLVER.BASE_LR 0.1 instead of 0.02"),
    "9x": ({"SOLVER__MAX_ITER": 810_000}, "810000 iterations of 16 instead of 270000 of 16"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_run_is_marked_with_its_difference_and_not_averaged(kind, tmp_path):
    changes, message = FOREIGN[kind]
    configs = [whole_config("fpn_r50", SEED=seed) for seed in (0, 1)]
    runs = [output_dir(tmp_path / f"own{i}", 40.0 + i, cfg) for i, cfg in enumerate(configs)]
    runs.append(output_dir(tmp_path / "foreign", 44.0, whole_config("fpn_r50", **changes)))
    found = [read_run(run) for run in runs]
    assert [run.remark for run in found[:2]] == ["", ""]
    assert message in found[2].remark
    line = next(line for line in tabulate(found)[1] if line[0] == ROWS["fpn_r50"].title)
    assert line[-1] == "40.50 ± 0.71 (2); 44.00*"


@pytest.mark.parametrize("row", ROWS)
def test_what_may_differ_differs_without_a_mark(row, tmp_path):
    allowed = {"MODEL__WEIGHTS": "b.pth", "INPUT__FORMAT": "BGR", "MODEL__RESNETS__STRIDE_IN_1X1": True, "SEED": 3}
    allowed |= {"OUTPUT_DIR": "elsewhere", "SOLVER__AMP__ENABLED": True, "DATALOADER__NUM_WORKERS": 9}
    run = read_run(output_dir(tmp_path / "run", 40.0, whole_config(row, **allowed)))
    assert (run.row, run.differences, run.remark) == (row, (), "")


def test_other_networks_are_not_averaged_either(tmp_path):
    runs = [
        read_run(output_dir(tmp_path / f"r{depth}", ap, whole_config("fpn_r50", MODEL__RESNETS__DEPTH=depth)))
        for depth, ap in ((18, 30.0), (34, 34.0))
    ]
    others = [line for line in tabulate(runs)[1] if line[0].startswith("other")]
    assert [(line[0], line[-1]) for line in others] == [("other: r18", "30.00"), ("other: r34", "34.00")]
