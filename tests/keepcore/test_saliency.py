import pytest
import torch
from torch import nn

from keepcore import at_scale, borrowed, input_gradient
from keepcore.saliency import label_logit, label_loss, max_logit
from tests.references import gradient_by_difference


def test_equals_central_differences(tiny_net):
    net = tiny_net.double()
    images, labels = torch.randn(2, 3, 5, 6, dtype=torch.float64), torch.tensor([1, 4])
    with borrowed(net) as inner:
        got = input_gradient(inner, images, labels)
        for i in range(2):
            want = gradient_by_difference(inner, images[i], labels[i], step=1e-6)
            torch.testing.assert_close(got[i].double(), want, rtol=1e-4, atol=1e-7)


def test_scores():
    logits = torch.tensor([[1.0, 3.0, 2.0], [0.0, -1.0, 5.0]])
    labels = torch.tensor([2, 0])
    assert label_logit(logits, labels).tolist() == [2.0, 0.0]
    assert max_logit(logits).tolist() == [3.0, 5.0]
    torch.testing.assert_close(
        label_loss(logits, labels), nn.functional.cross_entropy(logits, labels, reduction="none")
    )
    for score in (label_logit, label_loss):
        with pytest.raises(ValueError, match="labels"):
            score(logits, None)


def test_arguments_are_not_touched_and_grad_modes_do_not_matter(tiny_net):
    images, labels = torch.randn(2, 3, 8, 8), torch.tensor([1, 4])
    version = images._version
    with borrowed(tiny_net) as inner:
        want = input_gradient(inner, images, labels)
        with torch.no_grad():
            assert torch.equal(input_gradient(inner, images, labels), want)
        with torch.inference_mode():
            assert torch.equal(input_gradient(inner, images.clone(), labels), want)
    assert not images.requires_grad
    assert images._version == version
    assert want.dtype == torch.float32
    assert want.shape == (2, 8, 8)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(tiny_net, dtype):
    images, labels = torch.randn(2, 3, 8, 8), torch.tensor([1, 4])
    with borrowed(tiny_net) as inner:
        want = input_gradient(inner, images, labels)
        with torch.autocast("cpu", dtype=dtype):
            got = input_gradient(inner, images, labels)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, want, rtol=0.1, atol=0.02 * want.max().item())


@pytest.mark.parametrize("size", [(32, 32), (33, 33), (225, 10), (7, 64)])
@pytest.mark.parametrize("scale", [0.5, 0.3, 1.5])
def test_any_size_and_scale(size, scale):
    seen = []

    def logits(images):
        seen.append(tuple(images.shape[-2:]))
        return images.square().mean((2, 3))

    got = at_scale(input_gradient, scale)(logits, torch.rand(2, 3, *size), torch.tensor([0, 2]))
    assert got.shape == (2, *size)
    assert seen == [tuple(-(-round(s * scale * 10) // 10) for s in size)]


def test_low_resolution_map_is_aligned_with_the_image():
    weight = torch.zeros(3, 16, 16)
    weight[:, 12:, :4] = 1

    def logits(images):  # looks at the lower left corner only, at any resolution
        small = torch.nn.functional.interpolate(weight[None], images.shape[-2:], mode="nearest-exact")
        return (images * small).sum((1, 2, 3))[:, None].expand(-1, 2)

    got = at_scale(input_gradient, 0.5)(logits, torch.rand(1, 3, 16, 16), torch.tensor([0]))
    assert torch.equal(got[0] > 0, weight[0] > 0)


def test_errors(tiny_net):
    with pytest.raises(ValueError, match="normalised floats"):
        input_gradient(tiny_net, torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="2 x classes"):
        input_gradient(lambda x: x, torch.zeros(2, 3, 8, 8), torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="tuple"):
        input_gradient(lambda x: (x, x), torch.zeros(2, 3, 8, 8), torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="scale"):
        at_scale(input_gradient, 0)
    with pytest.raises(ValueError, match="upsample"):
        at_scale(input_gradient, 0.5, "cubic")
