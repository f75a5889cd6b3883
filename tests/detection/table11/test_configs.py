"""The six configs of Table 11: what they differ in, that weights fill them."""

import json
from pathlib import Path

import pytest
import torch

from detection.table11.rows import CONFIGS, QUICK, ROWS

NAMES = sorted(path.stem for path in CONFIGS.glob("*_3x.yaml"))
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
    assert len(NAMES) == 6
    assert sorted(row.config for row in ROWS.values()) == NAMES


def test_they_stand_alone_and_can_be_copied(tmp_path, monkeypatch, capsys):
    """No _BASE_, no path: the files work from any folder."""
    from detection import rows

    assert rows.main(["--copy", str(tmp_path / "mine")]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == 6
    monkeypatch.chdir(tmp_path)
    for line, row in zip(listed, ROWS.values(), strict=True):
        path = Path(line.split()[-1])
        assert path.parent == tmp_path / "mine"
        assert "_BASE_" not in path.read_text()
        assert config(path) == config(row.path)
        assert str(row.paper) in line
        assert str(row.keep) in line
    (tmp_path / "mine" / f"{NAMES[0]}.yaml").write_text("mine: 1")
    assert rows.main(["--copy", str(tmp_path / "mine")]) == 2
    assert (tmp_path / "mine" / f"{NAMES[0]}.yaml").read_text() == "mine: 1"


def test_quick_overrides_are_keys_of_detectron2():
    from detectron2.config import get_cfg

    from detection.table11.rows import quick_options

    cfg = get_cfg()
    cfg.merge_from_list(quick_options())
    assert cfg.SOLVER.MAX_ITER == QUICK["SOLVER.MAX_ITER"] == 2
    assert cfg.SOLVER.STEPS == ()
    assert cfg.INPUT.MIN_SIZE_TRAIN == (128,)


@pytest.mark.parametrize("row", NAMES)
def test_differs_from_the_model_zoo_in_the_five_keys_only(row):
    from detectron2 import model_zoo

    ours = dict(flat(config(CONFIGS / f"{row}.yaml")))
    zoo = dict(flat(config(model_zoo.get_config_file(f"COCO-Detection/{row}.yaml"))))
    different = {key for key in ours.keys() | zoo.keys() if ours.get(key) != zoo.get(key)}
    assert different - UNUSED == OURS


@pytest.mark.slow
@pytest.mark.parametrize("row", NAMES)
def test_every_backbone_tensor_is_filled(row, backbones):
    from detectron2.checkpoint import DetectionCheckpointer
    from detectron2.modeling import build_model

    from detection.detectors.build import missing_tensors

    cfg = config(CONFIGS / f"{row}.yaml")
    cfg.MODEL.DEVICE = "cpu"
    weights = backbones[cfg.MODEL.RESNETS.DEPTH]
    model = build_model(cfg)
    held = torch.load(weights, weights_only=True)["model"]
    assert missing_tensors(model, held)
    DetectionCheckpointer(model).load(str(weights))
    assert missing_tensors(model, held) == []
    parts = ("backbone.bottom_up.", "backbone.", "roi_heads.res5.")
    own = [k for k in model.state_dict() if k.startswith(parts) and (".res" in k or ".stem" in k)]
    assert len(own) == len(held)
