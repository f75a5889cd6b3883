"""What composers and selectors declare is found wherever they are wrapped."""

import functools
from dataclasses import replace

import pytest
import torch

from keepcore import KeepCutMix, anywhere
from keepcore.compose import cut, cutmix
from keepcore.regions import below
from keepcore.traits import declare, has_trait

LABELS = torch.tensor([0, 1, 2, 3, 4, 0])


def images():
    return torch.randn(6, 3, 12, 10, generator=torch.Generator().manual_seed(3))


def wrap(function):
    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapped


def hide(function):
    return lambda *args, **kwargs: function(*args, **kwargs)


def mix(net, **changes):
    operation = replace(KeepCutMix(prob=1.0), **changes)
    return operation(net, images(), LABELS, generator=torch.Generator().manual_seed(1))


def test_the_declared_traits():
    assert has_trait(cutmix, "needs_partner", default=False)
    assert not has_trait(cut, "needs_partner", default=False)
    assert not has_trait(anywhere, "uses_saliency", default=True)
    assert has_trait(below, "uses_saliency", default=True)


@pytest.mark.parametrize("wrapper", [wrap, functools.partial, lambda f: wrap(functools.partial(wrap(f)))])
def test_a_wrapped_cutmix_mixes_as_cutmix_does(tiny_net, wrapper):
    plain, wrapped = mix(tiny_net), mix(tiny_net, composer=wrapper(cutmix))
    assert torch.equal(plain.images_BCHW, wrapped.images_BCHW)
    assert torch.equal(plain.target(LABELS, 5), wrapped.target(LABELS, 5))


def test_a_hidden_cutmix_says_what_to_declare(tiny_net):
    with pytest.raises(ValueError, match="declare"):
        mix(tiny_net, composer=hide(cutmix))
    declared = mix(tiny_net, composer=declare(needs_partner=True)(hide(cutmix)))
    assert torch.equal(declared.images_BCHW, mix(tiny_net).images_BCHW)


def test_a_wrapped_anywhere_takes_no_saliency(tiny_net):
    plain, wrapped = mix(tiny_net, selector=anywhere), mix(tiny_net, selector=wrap(anywhere))
    assert torch.equal(plain.images_BCHW, wrapped.images_BCHW)
    broken = lambda *args: pytest.fail("saliency was computed")  # noqa: E731
    mix(tiny_net, selector=wrap(anywhere), saliency=broken)
