"""Learning rates as functions of the optimiser step.

A schedule counts optimiser steps, not batches of one process, so warm-up
and decay fall at the same place on any number of ranks. It is a recoverable:
SpeechBrain's checkpointer saves and restores the count.
"""

import math
from abc import ABC, abstractmethod

import torch
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)


@register_checkpoint_hooks
class Schedule(ABC):
    """Count steps and set the learning rate of an optimiser.

    Arguments
    ---------
    lr : float
        Peak learning rate, positive.
    warmup_steps : int
        Steps over which the rate grows linearly to what the decay gives.
    """

    def __init__(self, lr: float, warmup_steps: int):
        if not lr > 0 or warmup_steps < 0:
            raise ValueError(
                f"lr ({lr}) must be positive, warmup_steps ({warmup_steps}) "
                "must not be negative"
            )
        self.lr = lr
        self.warmup_steps = warmup_steps
        self.num_steps = 0

    @abstractmethod
    def decay(self, epoch: float) -> float:
        """Factor of the rate after `epoch` epochs, fractions included."""

    def rate(self, num_steps: int, steps_per_epoch: int) -> float:
        """Learning rate of the step that follows `num_steps` steps."""
        warmup = min(1.0, (num_steps + 1) / max(1, self.warmup_steps))
        return self.lr * warmup * self.decay(num_steps / steps_per_epoch)

    def step(
        self, optimizer: torch.optim.Optimizer, steps_per_epoch: int
    ) -> float:
        """Set the rate of the coming step, count it, return the rate."""
        rate = self.rate(self.num_steps, steps_per_epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate
        self.num_steps += 1
        return rate

    @mark_as_saver
    def save(self, path: str) -> None:
        """Write the count."""
        torch.save(self.num_steps, path)

    @mark_as_loader
    def load(self, path: str, end_of_epoch: bool) -> None:
        """Restore the count."""
        del end_of_epoch  # the same within an epoch and at its end
        self.num_steps = torch.load(path, weights_only=True)


class ConstantSchedule(Schedule):
    """Warm-up, then the same rate, as self multi-head attention is trained.

    Arguments
    ---------
    lr : float
        Learning rate.
    warmup_steps : int
        Steps of the linear warm-up, 0 for none.

    Example
    -------
    >>> schedule = ConstantSchedule(1e-3, warmup_steps=0)
    >>> schedule.rate(0, 10), schedule.rate(500, 10)
    (0.001, 0.001)
    """

    def decay(self, epoch: float) -> float:
        """1 for ever."""
        del epoch
        return 1.0


class HalvingSchedule(Schedule):
    """Warm-up, then half the rate every few epochs, as MFCon is trained.

    Arguments
    ---------
    lr : float
        Peak learning rate.
    warmup_steps : int
        Steps of the linear warm-up.
    halving_epochs : int
        Epochs between two halvings.

    Example
    -------
    >>> schedule = HalvingSchedule(1e-3, warmup_steps=2, halving_epochs=5)
    >>> [schedule.rate(step, steps_per_epoch=10) for step in (0, 1, 49, 50)]
    [0.0005, 0.001, 0.001, 0.0005]
    """

    def __init__(self, lr: float, warmup_steps: int, halving_epochs: int):
        super().__init__(lr, warmup_steps)
        if halving_epochs < 1:
            raise ValueError(
                f"halving_epochs ({halving_epochs}) must be at least 1"
            )
        self.halving_epochs = halving_epochs

    def decay(self, epoch: float) -> float:
        """½ to the power of the halvings so far."""
        return 0.5 ** (epoch // self.halving_epochs)


class CosineSchedule(Schedule):
    """Warm-up, then half a cosine down to a fraction of the peak.

    For short trainings: Loshchilov and Hutter,
    https://arxiv.org/abs/1608.03983, equation (5), without restarts.

    Arguments
    ---------
    lr : float
        Peak learning rate.
    warmup_steps : int
        Steps of the linear warm-up.
    num_epochs : int
        Epochs at the end of which the cosine reaches its minimum.
    final_fraction : float
        The minimum, as a fraction of the peak.

    Example
    -------
    >>> schedule = CosineSchedule(1.0, warmup_steps=0, num_epochs=2)
    >>> [round(schedule.rate(step, 10), 3) for step in (0, 10, 20)]
    [1.0, 0.505, 0.01]
    """

    def __init__(
        self,
        lr: float,
        warmup_steps: int,
        num_epochs: int,
        final_fraction: float = 0.01,
    ):
        super().__init__(lr, warmup_steps)
        if num_epochs < 1:
            raise ValueError(f"num_epochs ({num_epochs}) must be at least 1")
        self.num_epochs = num_epochs
        self.final_fraction = final_fraction

    def decay(self, epoch: float) -> float:
        """From 1 to `final_fraction`, which it keeps after the last epoch."""
        phase = min(1.0, epoch / self.num_epochs)
        cosine = 0.5 * (1.0 + math.cos(math.pi * phase))
        return self.final_fraction + (1.0 - self.final_fraction) * cosine
