"""Batch samplers: each global batch is a function of seed and epoch alone.

A sampler yields this rank's share of every global batch, so that the model
does not depend on how many processes train it. Items say which epoch and
which batch they are of: what is drawn for an utterance (crop, noise, room)
or for a batch (length of the crops) may depend on it, in any worker, without
shared state.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
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


class GlobalBatchSampler(Sampler, ABC):
    """Batches of all ranks, of which each yields its share.

    Arguments
    ---------
    batch_size : int
        Items of a *global* batch, summed over ranks.
    seed : int
        Of the draws, together with the epoch.
    rank, world_size : int
        Which of how many processes this one is; world_size divides
        batch_size.

    Raises
    ------
    ValueError
        Where world_size does not divide batch_size.
    """

    def __init__(self, batch_size: int, seed: int, rank: int, world_size: int):
        if batch_size % world_size:
            raise ValueError(
                f"batch_size ({batch_size}) is global: the number of "
                f"processes ({world_size}) must divide it"
            )
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 1

    @abstractmethod
    def draw(self, generator: torch.Generator) -> Iterator[list[int]]:
        """The global batches of an epoch: indices of the data set."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[Item]]:
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(self.epoch):  # one draw an epoch: no seed arithmetic
            epoch_seed = torch.randint(2**62, (), generator=generator).item()
        generator.manual_seed(epoch_seed)
        share = self.batch_size // self.world_size
        start = self.rank * share
        for batch, indices in enumerate(self.draw(generator)):
            yield [
                Item(self.epoch, batch, index)
                for index in indices[start : start + share]
            ]


class ShuffledBatchSampler(GlobalBatchSampler):
    """Shuffle every epoch; drop the incomplete last batch.

    Arguments
    ---------
    labels : Sequence[int]
        Speaker of each utterance; how many there are is all that counts.
    batch_size : int
        Items of a *global* batch, summed over ranks.
    seed : int
        Of the shuffle, together with the epoch.
    rank, world_size : int
        Which of how many processes this one is; world_size divides
        batch_size.

    Raises
    ------
    ValueError
        Where batch_size does not fit.

    Example
    -------
    >>> sampler = ShuffledBatchSampler([0, 0, 1, 1, 1], batch_size=2, seed=0)
    >>> len(sampler)
    2
    >>> sampler.set_epoch(3)
    >>> [len(batch) for batch in sampler], next(iter(sampler))[0].epoch
    ([2, 2], 3)
    """

    def __init__(
        self,
        labels: Sequence[int],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ):
        self.num_items = len(labels)
        if not 1 <= batch_size <= self.num_items:
            raise ValueError(
                f"batch_size ({batch_size}) must be from 1 to the number of "
                f"training utterances ({self.num_items}): an incomplete batch "
                "is dropped, so none would be left"
            )
        super().__init__(batch_size, seed, rank, world_size)

    def __len__(self) -> int:
        return self.num_items // self.batch_size

    def draw(self, generator: torch.Generator) -> Iterator[list[int]]:
        """Cut a permutation into batches."""
        order = torch.randperm(self.num_items, generator=generator).tolist()
        for batch in range(len(self)):
            start = batch * self.batch_size
            yield order[start : start + self.batch_size]


class SpeakerBalancedBatchSampler(GlobalBatchSampler):
    """As many utterances of each of some speakers in every batch.

    A batch drawn plainly has few pairs of one speaker beside the augmented
    copies, and contrastive losses live on them. An epoch has as many batches
    as there can be with no utterance twice; what is left over changes from
    epoch to epoch.

    Arguments
    ---------
    labels : Sequence[int]
        Speaker of each utterance.
    speakers_per_batch : int
        Different speakers of a *global* batch.
    utterances_per_speaker : int
        Of each of them.
    seed : int
        Of the draws, together with the epoch.
    rank, world_size : int
        Which of how many processes this one is; world_size divides the
        utterances of a batch.

    Raises
    ------
    ValueError
        Where there are not enough utterances for one batch.

    Example
    -------
    >>> labels = [0, 0, 0, 0, 1, 1, 2, 2]
    >>> sampler = SpeakerBalancedBatchSampler(labels, 2, 2, seed=0)
    >>> [sorted(labels[i.index] for i in batch) for batch in sampler]
    [[0, 0, 2, 2], [0, 0, 1, 1]]
    """

    def __init__(
        self,
        labels: Sequence[int],
        speakers_per_batch: int,
        utterances_per_speaker: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ):
        if min(speakers_per_batch, utterances_per_speaker) < 1:
            raise ValueError(
                f"speakers_per_batch ({speakers_per_batch}) and "
                f"utterances_per_speaker ({utterances_per_speaker}) must be at "
                "least 1"
            )
        self.speakers_per_batch = speakers_per_batch
        self.utterances_per_speaker = utterances_per_speaker
        _, self.speakers = torch.tensor(labels).unique(return_inverse=True)
        counts = self.speakers.bincount()
        self.starts = counts.cumsum(0) - counts  # utterances by speaker
        self.groups = counts // utterances_per_speaker
        self.num_batches = self._count_batches()
        if not self.num_batches:
            enough = int((self.groups > 0).sum())
            raise ValueError(
                f"only {enough} speakers have {utterances_per_speaker} "
                f"utterances or more, and a batch wants {speakers_per_batch}: "
                "lower speakers_per_batch or utterances_per_speaker"
            )
        super().__init__(
            speakers_per_batch * utterances_per_speaker, seed, rank, world_size
        )

    def _count_batches(self) -> int:
        """The most for which each speaker is in a batch once at most."""
        batches = int(self.groups.sum()) // self.speakers_per_batch
        while self._num_usable(batches) < self.speakers_per_batch * batches:
            batches = self._num_usable(batches) // self.speakers_per_batch
        return batches

    def _num_usable(self, batches: int) -> int:
        return int(self.groups.clamp(max=batches).sum())

    def __len__(self) -> int:
        return self.num_batches

    def draw(self, generator: torch.Generator) -> Iterator[list[int]]:
        """Deal each speaker's groups of utterances to different batches."""
        left = self._choose_groups(generator)
        dealt = torch.zeros_like(left)
        shuffled = self._shuffle_within_speakers(generator)
        for batches_left in range(self.num_batches, 0, -1):
            # A speaker with as many groups as there are batches is in each.
            due = (left == batches_left).nonzero().squeeze(1)
            weights = left.double()
            weights[due] = 0.0
            num_others = self.speakers_per_batch - len(due)
            chosen = due
            if num_others:
                others = weights.multinomial(num_others, generator=generator)
                chosen = torch.cat([due, others])
            left[chosen] -= 1
            first = (
                self.starts[chosen]
                + dealt[chosen] * self.utterances_per_speaker
            )
            dealt[chosen] += 1
            members = torch.arange(self.utterances_per_speaker)
            yield shuffled[(first.unsqueeze(1) + members).flatten()].tolist()

    def _choose_groups(self, generator: torch.Generator) -> Tensor:
        """How many groups of each speaker the epoch has, (speakers,)."""
        usable = self.groups.clamp(max=self.num_batches)
        owners = torch.arange(len(usable)).repeat_interleave(usable)
        wanted = self.num_batches * self.speakers_per_batch
        kept = torch.randperm(len(owners), generator=generator)[:wanted]
        return owners[kept].bincount(minlength=len(usable))

    def _shuffle_within_speakers(self, generator: torch.Generator) -> Tensor:
        """Indices of the utterances, by speaker, at random within each."""
        order = torch.randperm(len(self.speakers), generator=generator)
        return order[self.speakers[order].argsort(stable=True)]
