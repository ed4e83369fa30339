"""Signals that ask a training to stop: it saves first, at the end of a step."""

import contextlib
import signal
import time
import types
from collections.abc import Callable, Iterator

# One wish may come twice: from a launcher, and to the whole group.
SAME_WISH = 2.0  # s
# Slurm sends the first before it preempts or cancels a job; Ctrl-C, the
# second; the third is what `sbatch --signal=USR1@120` is often used with.
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Interrupted(Exception):  # noqa: N818 (it is no error)
    """A signal asked to stop, and all that was done is saved.

    Arguments
    ---------
    message : str
        What the user is told.
    exit_status : int
        Of the command.
    """

    def __init__(self, message: str, exit_status: int):
        super().__init__(message)
        self.exit_status = exit_status


class StopRequest:
    """Whether a signal came, and which.

    Arguments
    ---------
    forward : Callable[[int], None] | None
        Called with the number of the first signal, in the handler.
    """

    def __init__(self, forward: Callable[[int], None] | None = None):
        self.signal: signal.Signals | None = None
        self.forward = forward
        self.came_at = 0.0  # s, of the first

    def __bool__(self) -> bool:
        return self.signal is not None

    def handle(self, number: int, frame: types.FrameType | None) -> None:
        """Remember the first; a later one ends the process at once."""
        del frame
        now = time.monotonic()
        if self.signal is None:
            self.signal, self.came_at = signal.Signals(number), now
            if self.forward:
                self.forward(number)
        elif now - self.came_at > SAME_WISH:
            is_ctrl_c = number == signal.SIGINT
            handler = (
                signal.default_int_handler if is_ctrl_c else signal.SIG_DFL
            )
            signal.signal(number, handler)
            signal.raise_signal(number)

    @property
    def exit_status(self) -> int:
        """As a shell gives it: 128 and the number of the signal."""
        return 128 + (self.signal or signal.SIGTERM)


@contextlib.contextmanager
def stop_request(
    forward: Callable[[int], None] | None = None,
) -> Iterator[StopRequest]:
    """Let SIGTERM, SIGINT and SIGUSR1 ask to stop, rather than end at once.

    Arguments
    ---------
    forward : Callable[[int], None] | None
        Of `StopRequest`.

    Yields
    ------
    request : StopRequest
        True once a signal came.

    Example
    -------
    >>> with stop_request() as request:
    ...     bool(request)
    ...     signal.raise_signal(signal.SIGUSR1)
    ...     request.signal.name, request.exit_status - 128
    False
    ('SIGUSR1', 10)
    """
    request = StopRequest(forward)
    before = {each: signal.signal(each, request.handle) for each in SIGNALS}
    try:
        yield request
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
