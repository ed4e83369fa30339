"""Batches are those of one process, a function of seed and epoch."""

from collections import Counter

import pytest
import torch

from custom_modules.samplers import (
    ShuffledBatchSampler,
    SpeakerBalancedBatchSampler,
)


def batches(epoch=1, **settings):
    settings = {"labels": [0] * 23, "batch_size": 6, "seed": 1986, **settings}
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


def balanced(labels, speakers, utterances, epoch=1, **settings):
    sampler = SpeakerBalancedBatchSampler(
        labels, speakers, utterances, **{"seed": 1986, **settings}
    )
    sampler.set_epoch(epoch)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    return drawn


def uneven_labels(num_speakers=30):
    """From one to forty utterances of each speaker, in no order."""
    generator = torch.Generator().manual_seed(5)
    counts = torch.randint(1, 41, (num_speakers,), generator=generator)
    labels = torch.arange(num_speakers).repeat_interleave(counts)
    order = torch.randperm(len(labels), generator=generator)
    return labels[order].tolist()


@pytest.mark.parametrize(("speakers", "utterances"), [(4, 2), (10, 3), (25, 1)])
def test_balanced_batches_have_as_many_of_each_speaker(speakers, utterances):
    """And no utterance comes twice in an epoch."""
    labels = uneven_labels()
    drawn = balanced(labels, speakers, utterances)
    for batch in drawn:
        counts = Counter(labels[item.index] for item in batch)
        assert len(counts) == speakers
        assert set(counts.values()) == {utterances}
    indices = [item.index for batch in drawn for item in batch]
    assert len(indices) == len(set(indices))


def test_a_balanced_epoch_has_as_many_batches_as_there_can_be():
    """A speaker of many cannot be twice in a batch: three batches, not five."""
    labels = [0] * 20 + [1] * 2 + [2] * 2 + [3] * 2
    assert len(balanced(labels, 2, 2)) == 3
    labels = [speaker for speaker in range(6) for _ in range(4)]
    drawn = balanced(labels, 3, 2)
    assert len(drawn) == 4  # nothing is left over
    assert len({item.index for batch in drawn for item in batch}) == 24


def test_every_utterance_of_balanced_batches_has_its_turn():
    labels = uneven_labels()
    able = {s for s, n in Counter(labels).items() if n >= 3}
    seen = {
        item.index
        for epoch in range(1, 41)
        for batch in balanced(labels, 4, 3, epoch)
        for item in batch
    }
    assert seen == {i for i, label in enumerate(labels) if label in able}


def test_balanced_batches_are_a_function_of_seed_and_epoch():
    labels = uneven_labels()
    assert balanced(labels, 4, 2, 3) == balanced(labels, 4, 2, 3)
    assert balanced(labels, 4, 2, 3) != balanced(labels, 4, 2, 4)
    assert balanced(labels, 4, 2, seed=1) != balanced(labels, 4, 2, seed=2)


def test_ranks_share_the_balanced_batches_of_one_process():
    labels = uneven_labels()
    shares = [balanced(labels, 6, 2, rank=r, world_size=3) for r in range(3)]
    together = [
        [item for part in parts for item in part]
        for parts in zip(*shares, strict=True)
    ]
    assert together == balanced(labels, 6, 2)


@pytest.mark.parametrize(
    ("speakers", "utterances", "message"),
    [
        (3, 2, "only 2 speakers have 2 utterances"),
        (0, 2, "at least 1"),
        (2, 0, "at least 1"),
    ],
)
def test_impossible_balanced_batches_are_refused(speakers, utterances, message):
    with pytest.raises(ValueError, match=message):
        balanced([0, 0, 1, 1, 2], speakers, utterances)


def test_the_number_of_processes_divides_a_balanced_batch():
    with pytest.raises(ValueError, match=r"processes \(3\) must divide it"):
        balanced([0, 0, 1, 1], 2, 2, world_size=3)
