"""LazyConfigs are the YAML files' equals; TimmBackbone is timm's network, frozen as Detectron2 freezes."""

import json

import pytest
import timm
import torch
from timm.layers import FrozenBatchNormAct2d
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from detection.detectors.build import build, load_weights
from detection.detectors.timm_backbone import TimmBackbone
from detection.table11.launch import train_net
from detection.table11.rows import CONFIGS, ROWS, SCHEDULE
from engine.errors import UserError
from tests.detection.conftest import command, lively

LAZY = CONFIGS / "lazy"


def test_there_is_one_for_every_row():
    assert {row.config for row in ROWS.values()} <= {path.stem for path in LAZY.glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_equal_to_the_yaml(row, backbones):
    """Same tensors, same ones trained, same boxes for one image, same schedule."""
    ours = build(LAZY / f"{ROWS[row].config}.py")
    yaml = build(ROWS[row].path)
    assert {n: p.requires_grad for n, p in ours.model.named_parameters()} == {
        n: p.requires_grad for n, p in yaml.model.named_parameters()
    }
    load_weights(yaml.model, backbones[ROWS[row].depth])
    ours.model.load_state_dict(yaml.model.state_dict(), strict=True)
    image_3HW = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        one, other = (each.model([{"image": image_3HW}])[0]["instances"] for each in (ours, yaml))
    assert torch.equal(one.pred_boxes.tensor, other.pred_boxes.tensor)
    assert torch.equal(one.scores, other.scores)
    solver, cfg = yaml.cfg.SOLVER, ours.cfg
    assert (cfg.train.max_iter, cfg.optimizer.lr) == (solver.MAX_ITER, solver.BASE_LR)
    scheduler = cfg.lr_multiplier.scheduler
    assert list(scheduler.milestones) == [*solver.STEPS, SCHEDULE]
    assert cfg.dataloader.train.total_batch_size == solver.IMS_PER_BATCH
    sizes = cfg.dataloader.train.mapper.augmentations[0].short_edge_length
    assert tuple(sizes) == tuple(yaml.cfg.INPUT.MIN_SIZE_TRAIN)


@pytest.mark.parametrize("name", ["resnet18d", "resnetaa50", "convnext_atto", "regnetx_002", "efficientnet_b0"])
def test_features_are_timms(name, tmp_path):
    net = lively(name).eval()
    torch.save(net.state_dict(), tmp_path / "w.pth")
    backbone = TimmBackbone(name, checkpoint=str(tmp_path / "w.pth")).eval()
    images = torch.randn(1, 3, 64, 96)
    wanted = dict(zip(("res2", "res3", "res4", "res5"), net.forward_intermediates(images)[1][-4:], strict=True))
    with torch.no_grad():
        found = backbone(images)
    shapes = backbone.output_shape()
    assert list(found) == list(shapes) == ["res2", "res3", "res4", "res5"]
    for index, (stage, feature) in enumerate(found.items()):
        assert shapes[stage].stride == 4 << index == 64 // feature.shape[2]
        assert shapes[stage].channels == feature.shape[1]
        if wanted[stage].shape == feature.shape:  # efficientnet's own list is cut elsewhere
            assert (feature - wanted[stage]).abs().max() < 1e-4 * feature.abs().max()
    assert backbone.size_divisibility == 32
    assert not any(isinstance(each, nn.BatchNorm2d) for each in backbone.modules())


def test_a_frozen_norm_keeps_its_activation(tmp_path):
    """timm's BatchNormAct2d is a BatchNorm2d with an activation: Detectron2's own conversion would lose it."""
    backbone = TimmBackbone("efficientnet_b0")
    frozen = [each for each in backbone.modules() if isinstance(each, FrozenBatchNormAct2d)]
    assert len(frozen) > 40
    assert any(isinstance(each.act, nn.SiLU) for each in frozen)


@pytest.mark.parametrize("name", ["resnet18d", "convnext_atto"])
@pytest.mark.parametrize("freeze_at", [0, 1, 2, 3])
def test_freezing(name, freeze_at):
    backbone = TimmBackbone(name, freeze_at=freeze_at, norm="BN")
    frozen = {n for n, p in backbone.named_parameters() if not p.requires_grad}
    groups = {"resnet18d": ("layer1", "layer2"), "convnext_atto": ("stages_0", "stages_1")}[name]
    for stage, group in enumerate(groups, 2):
        inside = {n for n, _ in backbone.named_parameters() if n.startswith(f"net.{group}.")}
        assert (inside <= frozen) == (freeze_at >= stage)
        assert inside.isdisjoint(frozen) == (freeze_at < stage)
    stem = {n for n, _ in backbone.named_parameters() if n.startswith(("net.conv1.", "net.stem"))}
    assert stem
    assert (stem <= frozen) == (freeze_at >= 1)
    if name == "resnet18d":
        norms = [n for n, m in backbone.named_modules() if isinstance(m, FrozenBatchNorm2d)]
        assert any("layer1" in n for n in norms) == (freeze_at >= 2)
        assert not any("layer4" in n for n in norms)


def test_swin_needs_any_image_size(tmp_path):
    name, options = "swin_tiny_patch4_window7_224", {"strict_img_size": False, "depths": (1, 1, 1, 1)}
    net = timm.create_model(name, **options).eval()
    torch.save({"arch": name, "state_dict": net.state_dict()}, tmp_path / "swin.pth")
    images = torch.randn(1, 3, 96, 160)
    with pytest.raises(AssertionError, match="Input height"):
        TimmBackbone(name, options={"depths": (1, 1, 1, 1)})(images)
    backbone = TimmBackbone(name, checkpoint=str(tmp_path / "swin.pth"), options=options).eval()
    with torch.no_grad():
        features, (_, last) = backbone(images), (None, net.forward_features(images))
    assert {stage: tuple(feature.shape) for stage, feature in features.items()} == {
        "res2": (1, 96, 24, 40),
        "res3": (1, 192, 12, 20),
        "res4": (1, 384, 6, 10),
        "res5": (1, 768, 3, 5),
    }
    torch.testing.assert_close(net.norm(features["res5"].permute(0, 2, 3, 1)), last)


def test_a_file_without_a_name_is_remarked_upon(tmp_path, caplog):
    TimmBackbone("resnet18", checkpoint=str(saved(tmp_path, "resnet18")))
    assert "does not name its architecture: resnet18 is assumed" in caplog.text
    caplog.clear()
    torch.save({"arch": "resnet18", "state_dict": timm.create_model("resnet18").state_dict()}, tmp_path / "named")
    TimmBackbone("resnet18", checkpoint=str(tmp_path / "named"))
    assert not caplog.text


def test_mistakes(tmp_path, backbones):
    with pytest.raises(UserError, match="is already a Detectron2 checkpoint"):
        TimmBackbone("resnet18", checkpoint=str(backbones[18]))
    torch.save(lively("resnet18").state_dict(), tmp_path / "r18.pth")
    torch.save(
        {k: v for k, v in lively("resnet18d").state_dict().items() if "layer3" not in k}, tmp_path / "cut.pth"
    )
    with pytest.raises(UserError, match=r"does not fill the network.*conv1\.0"):
        TimmBackbone("resnet18d", checkpoint=str(tmp_path / "r18.pth"))
    with pytest.raises(UserError, match="does not fill the network.*layer3"):
        TimmBackbone("resnet18d", checkpoint=str(tmp_path / "cut.pth"))
    with pytest.raises(UserError, match="differ in shape"):
        TimmBackbone("wide_resnet50_2", checkpoint=str(saved(tmp_path, "resnet50")))
    with pytest.raises(UserError, match=r"pixel_mean is \[103.53"):
        TimmBackbone("resnet18d", pixel_mean=[103.53, 116.28, 123.675])
    with pytest.raises(UserError, match="pixel_std"):
        TimmBackbone("resnet18d", pixel_std=[1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="norm must be"):
        TimmBackbone("resnet18d", norm="SyncBN")
    with pytest.raises(ValueError, match="has no res6"):
        TimmBackbone("resnet18d", out_features=["res6"])
    with pytest.raises(ValueError, match="freeze_at 0"):
        TimmBackbone("vit_tiny_patch16_224")


def test_weights_of_another_network_are_told(tmp_path):
    """A deeper network fills every tensor; a twin has the very same ones."""
    for name, deeper in (("resnet18", "resnet34"), ("resnet18d", "resnet34d")):
        with pytest.raises(UserError, match="belongs to a larger network.*layer"):
            TimmBackbone(name, checkpoint=str(saved(tmp_path, deeper)))
    torch.save({"arch": "resnetblur18", "state_dict": lively("resnet18").state_dict()}, tmp_path / "twin.pth")
    with pytest.raises(UserError, match="holds a resnetblur18, not a resnet18"):
        TimmBackbone("resnet18", checkpoint=str(tmp_path / "twin.pth"))
    told = {"arch": "resnet18", "state_dict": lively("resnet18").state_dict(), "options": '{"act_layer": "silu"}'}
    torch.save(told, tmp_path / "silu.pth")
    backbone = TimmBackbone("resnet18", checkpoint=str(tmp_path / "silu.pth"), options={"act_layer": "silu"})
    assert any(isinstance(each, nn.SiLU) for each in backbone.modules())


def saved(folder, name):
    torch.save(timm.create_model(name).state_dict(), folder / f"{name}.pth")
    return folder / f"{name}.pth"


QUICK = [
    "train.device=cpu",
    "train.max_iter=2",
    "dataloader.train.total_batch_size=2",
    "dataloader.train.num_workers=0",
    "dataloader.test.num_workers=0",
    "dataloader.train.mapper.augmentations.0.short_edge_length=[96]",
    "dataloader.test.mapper.augmentations.0.short_edge_length=96",
    "model.proposal_generator.pre_nms_topk=[200,100]",
    "model.proposal_generator.post_nms_topk=[50,20]",
    "model.roi_heads.batch_size_per_image=16",
    "model.roi_heads.box_predictor.test_score_thresh=0.0",
    "optimizer.lr=0.0005",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18d", "convnext_atto"])
def test_the_unmodified_lazyconfig_train_net(name, demo, tmp_path):
    bottom_up = "model.backbone.bottom_up"
    options = [f"{bottom_up}.name={name}", f"{bottom_up}.checkpoint={saved(tmp_path, name)}"]
    options += [*QUICK, f"train.output_dir={tmp_path / 'run'}"]
    flags = ["--num-gpus", "0", "--config-file", LAZY / "faster_rcnn_timm_FPN_3x.py"]
    command(train_net(lazy=True), *flags, *options, env={"DETECTRON2_DATASETS": str(demo / "detection")})
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.json").read_text().splitlines()]
    assert any("bbox/AP" in row for row in rows)
    assert (tmp_path / "run" / "inference" / "coco_instances_results.json").is_file()
    final = torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)["model"]
    source = torch.load(tmp_path / f"{name}.pth", weights_only=True)
    stem = "conv1.0.weight" if name == "resnet18d" else "stem.0.weight"
    assert torch.equal(final[f"backbone.bottom_up.net.{stem.replace('stem.', 'stem_')}"], source[stem])  # frozen
