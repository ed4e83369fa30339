"""Batch samplers: each global batch is a function of seed and epoch alone.

A sampler yields this rank's share of every global batch, so that the model
does not depend on how many processes train it. Items say which epoch and
which batch they are of: what is drawn for an utterance (crop, noise, room)
or for a batch (length of the crops) may depend on it, in any worker, without
shared state.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch.utils.data import Sampler


class Item(NamedTuple):
    """Which utterance, and what it is drawn for.

    Arguments
    ---------
    epoch : int
        From 1.
    batch : int
        Global batch of the epoch, from 0.
    index : int
        Utterance of the data set.
    """

    epoch: int
    batch: int
    index: int


class ShuffledBatchSampler(Sampler):
    """Shuffle every epoch; drop the incomplete last batch.

    Arguments
    ---------
    num_items : int
        Size of the data set.
    batch_size : int
        Items of a *global* batch, summed over ranks.
    seed : int
        Of the shuffle, together with the epoch.
    rank, world_size : int
        Which of how many processes this one is; world_size divides
        batch_size.

    Example
    -------
    >>> sampler = ShuffledBatchSampler(num_items=5, batch_size=2, seed=0)
    >>> len(sampler)
    2
    >>> sampler.set_epoch(3)
    >>> [len(batch) for batch in sampler], next(iter(sampler))[0].epoch
    ([2, 2], 3)
    """

    def __init__(
        self,
        num_items: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ):
        if not 1 <= batch_size <= num_items:
            raise ValueError(
                f"batch_size ({batch_size}) must be from 1 to the number of "
                f"training utterances ({num_items}): an incomplete batch is "
                "dropped, so none would be left"
            )
        if batch_size % world_size:
            raise ValueError(
                f"batch_size ({batch_size}) is global: the number of "
                f"processes ({world_size}) must divide it"
            )
        self.num_items = num_items
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 1

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_items // self.batch_size

    def __iter__(self) -> Iterator[list[Item]]:
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.epoch):  # one draw an epoch: no seed arithmetic
            epoch_seed = torch.randint(2**62, (), generator=generator).item()
        generator.manual_seed(epoch_seed)
        order = torch.randperm(self.num_items, generator=generator).tolist()
        share = self.batch_size // self.world_size
        for batch in range(len(self)):
            start = batch * self.batch_size + self.rank * share
            indices = order[start : start + share]
            yield [Item(self.epoch, batch, index) for index in indices]
