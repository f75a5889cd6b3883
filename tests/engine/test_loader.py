import pytest
import torch

from engine.errors import UserError
from engine.loader import EpochLoader, in_order, shuffled


class Noise:
    def __len__(self):
        return 10

    def __getitem__(self, index):
        return index, torch.rand(()).item()


def epoch(loader, number):
    loader.set_epoch(number)
    return [[t.tolist() for t in batch] for batch in loader]


def test_samples_depend_on_seed_and_epoch_only():
    """The same batches and the same random transforms with any number of workers, in any order of epochs."""
    plan = shuffled(10, 4, seed=3)
    alone, two = EpochLoader(Noise(), plan, 3), EpochLoader(Noise(), plan, 3, workers=2)
    first = [epoch(alone, 0), epoch(alone, 1)]
    assert [epoch(two, 1), epoch(two, 0)] == first[::-1]
    assert first[0] != first[1]


def test_loading_in_this_process_leaves_the_global_generator_alone():
    loader = EpochLoader(Noise(), in_order(range(10), 4), 0)
    state = torch.get_rng_state()
    sizes = [len(batch[0]) for batch in loader]
    assert sizes == [4, 4, 2]
    assert torch.equal(state, torch.get_rng_state())


def test_processes_share_the_batches_of_one():
    whole = shuffled(100, 8, seed=1)(5)
    parts = [shuffled(100, 8, seed=1, rank=r, processes=2)(5) for r in (0, 1)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole
    flat = [i for batch in whole for i in batch]
    assert len(flat) == len(set(flat)) == 96


def test_errors():
    with pytest.raises(UserError, match="larger than the set"):
        shuffled(3, 4, 0)
    with pytest.raises(UserError, match="cannot be split evenly"):
        shuffled(30, 4, 0, processes=3)
