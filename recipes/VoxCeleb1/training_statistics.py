"""What an epoch of training adds up to, across interruptions."""

import time
from collections import defaultdict

import torch
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from torch import Tensor


@register_checkpoint_hooks
class TrainingStatistics:
    """Means of an epoch, throughput, and the time of the whole training.

    A recoverable: a training that is resumed in the middle of an epoch logs
    what an uninterrupted one would, times excepted.

    Example
    -------
    >>> statistics = TrainingStatistics()
    >>> statistics.start_epoch()
    >>> for loss in (1.0, 3.0):
    ...     statistics.start_step()
    ...     statistics.end_step({"loss": torch.tensor(loss)}, 200)
    >>> statistics.summary()["loss"]
    2.0
    """

    def __init__(self):
        self.earlier_minutes = 0.0
        self.started = time.perf_counter()
        self.start_epoch()

    @property
    def minutes(self) -> float:
        """Time of the training so far, validation and interrupted runs too."""
        return self.earlier_minutes + (time.perf_counter() - self.started) / 60

    def start_epoch(self) -> None:
        """Forget the epoch before."""
        self.sums = defaultdict(float)
        self.num_steps = self.num_utterances = 0
        self.waited = self.worked = 0.0  # s
        self.resume()

    def resume(self) -> None:
        """Start the clock: waiting for data begins now."""
        self.clock = time.perf_counter()

    def start_step(self) -> None:
        """The batch is there: what passed since the last step was waiting."""
        now = time.perf_counter()
        self.waited += now - self.clock
        self.clock = now

    def end_step(self, values: dict[str, Tensor], num_utterances: int) -> None:
        """Add a step's values, scalars on any device; none if it failed."""
        for name, value in values.items():
            self.sums[name] += value.detach()
        self.num_steps += bool(values)
        self.num_utterances += num_utterances
        now = time.perf_counter()
        self.worked += now - self.clock
        self.clock = now

    def summary(self) -> dict[str, float]:
        """Means over the steps, utterances per second, share of waiting."""
        seconds = max(1e-9, self.waited + self.worked)
        means = {
            name: float(value) / max(1, self.num_steps)
            for name, value in self.sums.items()
        }
        return {
            **means,
            "utterances_per_second": self.num_utterances / seconds,
            "share_waiting_for_data": self.waited / seconds,
        }

    @mark_as_saver
    def save(self, path: str) -> None:
        """Write the sums and times."""
        state = {
            "sums": {name: float(value) for name, value in self.sums.items()},
            "num_steps": self.num_steps,
            "num_utterances": self.num_utterances,
            "waited": self.waited,
            "worked": self.worked,
            "earlier_minutes": self.minutes,
        }
        torch.save(state, path)

    @mark_as_loader
    def load(self, path: str, end_of_epoch: bool) -> None:
        """Restore them."""
        del end_of_epoch  # the next epoch's start forgets what is not its own
        state = torch.load(path, weights_only=True)
        self.sums = defaultdict(float, state.pop("sums"))
        for name, value in state.items():
            setattr(self, name, value)
        self.started = time.perf_counter()
