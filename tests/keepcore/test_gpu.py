"""What only a GPU can show: no step waits for the device, and the boxes are those of the CPU."""

import itertools

import pytest
import timm
import torch

from keepcore import KeepConfig, build_keep

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
OPS = ("cutout", "erasing", "cutmix", "paste")
SALIENCIES = ({}, {"scale": 0.5}, {"saliency": "feature_gradient"}, {"saliency": "feature_gradient", "scale": 0.5})
CONTROLS = ("none", "shuffled", "same_size", "mean_map", "centre", "noise")
MATCHES = ("any", "area")


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False
    net = timm.create_model("resnet18", num_classes=10, zero_init_last=False)
    return net, timm.create_model("resnet18", num_classes=10, zero_init_last=False).cuda(), net.state_dict()


def batch():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(16, 3, 64, 64, generator=generator)
    return images, torch.arange(16) % 10


def augment(keep, net, images, labels, seed, views):
    return keep(net, images, labels, views, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("op", "match"), list(itertools.product(OPS, MATCHES)))
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.parametrize("saliency", range(len(SALIENCIES)))
def test_no_step_waits_and_the_boxes_are_those_of_the_cpu(op, match, control, saliency, networks):
    cpu_net, gpu_net, state = networks
    gpu_net.load_state_dict(state)
    images, labels = batch()
    keep = build_keep(KeepConfig(op=op, match=match, control=control, length=24, **SALIENCIES[saliency]))
    views = -images if op == "paste" else None
    on_gpu = [None if x is None else x.cuda() for x in (images, labels, views)]
    augment(keep, gpu_net, *on_gpu[:2], 0, on_gpu[2])  # the first call may choose a stage, and warn
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        kept = augment(keep, gpu_net, *on_gpu[:2], 1, on_gpu[2])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    if control not in ("noise", "same_size"):  # their noise is drawn on the device
        expected = augment(keep, cpu_net, images, labels, 1, views)
        distance = (kept.boxes_B4.cpu() - expected.boxes_B4).abs().amax(1)
        assert (distance <= 2).float().mean() >= 0.75  # rounding changes a rank now and then, and thus the count
        sizes = [boxes[:, 2:] - boxes[:, :2] for boxes in (kept.boxes_B4.cpu(), expected.boxes_B4)]
        assert match == "any" or control == "shuffled" or torch.equal(*sizes)
