"""What an epoch of training adds up to, across interruptions."""

import os
import time
from collections import defaultdict
from pathlib import Path

import torch
from speechbrain.utils.checkpoints import (
    mark_as_loader,
    mark_as_saver,
    register_checkpoint_hooks,
)
from torch import Tensor

MAX_NAMED = 10  # files in a message


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
        self.bad_files: list[str] = []
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

    def add_bad_files(self, errors: list[str], limit: int) -> None:
        """Remember files that can no longer be read, each once.

        Arguments
        ---------
        errors : list[str]
            What reading said, "FILE: reason".
        limit : int
            Of such files in an epoch.

        Raises
        ------
        ValueError
            Where one more is above the limit.
        """
        known = {error.partition(": ")[0] for error in self.bad_files}
        found = {error.partition(": ")[0]: error for error in errors}
        new = [error for path, error in found.items() if path not in known]
        self.bad_files += new
        if new and len(self.bad_files) > limit:
            raise ValueError(
                f"more than max_bad_files ({limit}): {self.bad_news}\nRepair "
                "them; the same command goes on from the last checkpoint"
            )

    @property
    def bad_news(self) -> str:
        """How many files can no longer be read, and why the first."""
        num_more = len(self.bad_files) - MAX_NAMED
        lines = [
            f"{len(self.bad_files)} files could no longer be read, and others "
            "stood in for what they were drawn for",
            *self.bad_files[:MAX_NAMED],
            *([f"and {num_more} more"] if num_more > 0 else []),
        ]
        return "\n  ".join(lines)

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
            "bad_files": self.bad_files,
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


@register_checkpoint_hooks
class LogEnd:
    """Where the log of epochs ended when a checkpoint was saved.

    A recoverable: an epoch that was logged, and is trained again because its
    checkpoint was not written any more, stands in the log once.

    Arguments
    ---------
    path : str | Path
        The log.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> log = folder / "train_log.txt"
    >>> _ = log.write_text("epoch: 1")
    >>> end = LogEnd(log)
    >>> end.save(folder / "log_end")
    >>> _ = log.write_text("epoch: 1, epoch: 2")
    >>> end.load(folder / "log_end", end_of_epoch=True)
    >>> log.read_text()
    'epoch: 1'
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    @mark_as_saver
    def save(self, path: str) -> None:
        """Write how long the log is."""
        size = self.path.stat().st_size if self.path.exists() else 0
        Path(path).write_text(str(size), "utf-8")

    @mark_as_loader
    def load(self, path: str, end_of_epoch: bool) -> None:
        """Cut off what was logged since."""
        del end_of_epoch  # the same within an epoch and at its end
        size = int(Path(path).read_text("utf-8"))
        if self.path.exists() and self.path.stat().st_size > size:
            os.truncate(self.path, size)
