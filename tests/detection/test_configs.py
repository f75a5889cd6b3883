"""The six configs of Table 11: what they differ in, that weights fill them, that train_net.py runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch

from detection.launch import train_net

CONFIGS = Path(__file__).parents[2] / "detection" / "configs"
ROWS = sorted(path.stem for path in CONFIGS.glob("*_3x.yaml"))
OURS = {"INPUT.FORMAT", "MODEL.PIXEL_MEAN", "MODEL.PIXEL_STD", "MODEL.RESNETS.STRIDE_IN_1X1", "MODEL.WEIGHTS"}
UNUSED = {"OUTPUT_DIR", "MODEL.ROI_MASK_HEAD.NUM_CONV"}


def flat(node, prefix=""):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, json.dumps(value, default=list)


def config(path):
    from detectron2.config import get_cfg

    cfg = get_cfg()
    cfg.merge_from_file(str(path), allow_unsafe=True)
    return cfg


def test_there_are_six():
    assert len(ROWS) == 6


@pytest.mark.parametrize("row", ROWS)
def test_differs_from_the_model_zoo_in_the_five_keys_only(row):
    from detectron2 import model_zoo

    ours = dict(flat(config(CONFIGS / f"{row}.yaml")))
    zoo = dict(flat(config(model_zoo.get_config_file(f"COCO-Detection/{row}.yaml"))))
    different = {key for key in ours.keys() | zoo.keys() if ours.get(key) != zoo.get(key)}
    assert different - UNUSED == OURS


@pytest.fixture(scope="session")
def backbones(tmp_path_factory):
    """Converted random R18, R50 and R101."""
    from detection.arch import ARCHS
    from detection.convert import convert
    from detection.write import write

    made = {}
    for depth in (18, 50, 101):
        name = f"resnet{depth}"
        made[depth] = tmp_path_factory.mktemp("weights") / f"{name}.pth"
        write(convert(timm.create_model(name).state_dict(), ARCHS[name]), made[depth], {})
    return made


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_every_backbone_tensor_is_filled(row, backbones):
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.modeling import build_model

    from detection.verify import unfilled

    cfg = config(CONFIGS / f"{row}.yaml")
    cfg.MODEL.DEVICE = "cpu"
    weights = backbones[cfg.MODEL.RESNETS.DEPTH]
    model = build_model(cfg)
    assert unfilled(model, weights)
    DetectionCheckpointer(model).load(str(weights))
    assert unfilled(model, weights) == []
    held = torch.load(weights, weights_only=True)["model"]
    parts = ("backbone.bottom_up.", "backbone.", "roi_heads.res5.")
    own = [k for k in model.state_dict() if k.startswith(parts) and (".res" in k or ".stem" in k)]
    assert len(own) == len(held)


@pytest.mark.slow
def test_the_unmodified_train_net_trains_and_evaluates(backbones, demo, tmp_path):
    env = {**os.environ, "DETECTRON2_DATASETS": str(demo / "detection"), "OMP_NUM_THREADS": "2"}
    argv = ["--num-gpus", "0", "--config-file", str(CONFIGS / "demo_faster_rcnn_R_18_FPN.yaml")]
    argv += ["MODEL.WEIGHTS", str(backbones[18]), "SOLVER.MAX_ITER", "2", "SOLVER.STEPS", "()"]
    argv += ["SOLVER.IMS_PER_BATCH", "2", "OUTPUT_DIR", str(tmp_path), "DATALOADER.NUM_WORKERS", "0"]
    argv += ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"]
    done = subprocess.run(
        [sys.executable, str(train_net()), *argv], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    last = json.loads((tmp_path / "metrics.json").read_text().splitlines()[-1])
    assert "bbox/AP50" in last
    assert (tmp_path / "model_final.pth").is_file()
