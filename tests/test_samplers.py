"""Batches are those of one process, a function of seed and epoch."""

import pytest

from custom_modules.samplers import ShuffledBatchSampler


def batches(epoch=1, **settings):
    settings = {"num_items": 23, "batch_size": 6, "seed": 1986, **settings}
    sampler = ShuffledBatchSampler(**settings)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_no_item_twice_and_the_incomplete_batch_is_dropped():
    items = [item for batch in batches() for item in batch]
    assert len(items) == 18 == len(set(items))
    assert {item.index for item in items} <= set(range(23))


def test_the_same_epoch_gives_the_same_batches_and_another_does_not():
    assert batches(epoch=4) == batches(epoch=4)
    assert batches(epoch=4, seed=1) != batches(epoch=4, seed=2)
    indices = [[i.index for b in batches(epoch) for i in b] for epoch in (1, 2)]
    assert indices[0] != indices[1]


def test_items_carry_the_epoch_and_the_global_batch():
    for rank in (0, 1):
        drawn = batches(7, rank=rank, world_size=2)
        assert {item.epoch for batch in drawn for item in batch} == {7}
        for number, batch in enumerate(drawn):
            assert {item.batch for item in batch} == {number}


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_batches_of_one_process(world_size):
    shares = [
        batches(rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    together = [
        [item for part in parts for item in part]
        for parts in zip(*shares, strict=True)
    ]
    assert together == batches()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 24}, r"number of training utterances \(23\)"),
        ({"batch_size": 0}, "must be from 1"),
        ({"world_size": 4}, r"processes \(4\) must divide it"),
    ],
)
def test_impossible_batches_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        batches(**settings)
