"""How far a command is: a bar on a terminal, lines in a log file."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

logger = logging.getLogger(__name__)

Item = TypeVar("Item")
INTERVAL = 30.0  # s between two lines


def is_terminal() -> bool:
    """Whether somebody watches stderr; a bar's returns would spoil a file."""
    return sys.stderr.isatty()


class Pace:
    """Count, and say now and then how much is done and how long the rest takes.

    Arguments
    ---------
    total : int
        What there is to do.
    done : int
        Of it, before.
    interval : float
        Between two lines, in s.
    clock : Callable[[], float]
        Time in s.

    Example
    -------
    >>> seconds = iter([0.0, 10.0, 40.0])
    >>> pace = Pace(100, clock=lambda: next(seconds))
    >>> pace.step(20), pace.step(20)
    ('', '40 of 100, 1:00 left')
    """

    def __init__(
        self,
        total: int,
        done: int = 0,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.total, self.done, self.done_before = total, done, done
        self.interval, self.clock = interval, clock
        self.started = self.said = clock()

    def step(self, num: int = 1) -> str:
        """Count so many; what there is to say, "" if it is too soon."""
        self.done += num
        now = self.clock()
        if now - self.said < self.interval:
            return ""
        self.said = now
        passed = max(1e-9, now - self.started)
        speed = (self.done - self.done_before) / passed
        seconds = round((self.total - self.done) / speed)
        minutes, seconds = divmod(max(0, seconds), 60)
        hours, minutes = divmod(minutes, 60)
        left = f"{minutes}:{seconds:02}"
        if hours:
            left = f"{hours}:{minutes:02}:{seconds:02}"
        return f"{self.done} of {self.total}, {left} left"


def show_progress(
    items: Iterable[Item],
    description: str,
    unit: str,
    total: int | None = None,
    is_wanted: bool = True,
) -> Iterable[Item]:
    """Show how many of the items have been taken.

    Arguments
    ---------
    items : Iterable
        To go through.
    description : str
        What they are for, as "Embeddings".
    unit : str
        What each is, as "batch".
    total : int | None
        Their number; None takes their length.
    is_wanted : bool
        False shows nothing, as in all processes but one.

    Returns
    -------
    items : Iterable
        The same.

    Example
    -------
    >>> list(show_progress(range(3), "Embeddings", "batch"))
    [0, 1, 2]
    """
    if not is_wanted:
        return items
    total = len(items) if total is None else total
    if is_terminal():
        return tqdm(items, description, total, unit=unit)
    return _with_lines(items, f"{description}: {unit}", total)


def _with_lines(
    items: Iterable[Item], description: str, total: int
) -> Iterator[Item]:
    pace = Pace(total)
    for item in items:
        yield item
        if said := pace.step():
            logger.info(f"{description} {said}")
