"""A folder of results: can be written to, and by one run at a time."""

import contextlib
import errno
import fcntl
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

held: list[IO] = []  # locks of this process
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextlib.contextmanager
def using(folder: Path, name: str) -> Iterator[IO]:
    """Have a folder for oneself, before hours of work for it.

    Commands that inherit the file hold the lock too, where this process is
    killed, until they have ended.

    Arguments
    ---------
    folder : Path
        Made if missing.
    name : str
        Of the lock, a file in it.

    Yields
    ------
    lock : IO
        The file.

    Raises
    ------
    OSError
        Where nothing can be written there.
    ValueError
        Where another process has it.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> with using(folder, "lock"), using(folder, "lock"):
    ...     pass
    Traceback (most recent call last):
    ValueError: ...: another process works there; wait for its end, or end it
    """
    folder = folder.absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"0")
        lock = open(folder / name, "w", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise OSError(
            f"{folder}: nothing can be written there ({error.strerror}): make "
            "room and have the right to, or give another folder"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"{folder}: another process works there; wait for its end, or "
                "end it"
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            logger.warning(
                f"{folder}: its file system has no locks, so nothing refuses "
                "a second run there"
            )
        held.append(lock)
        try:
            yield lock
        finally:
            held.remove(lock)
            # Processes that inherited it no longer matter.
            fcntl.flock(lock, fcntl.LOCK_UN)


def give_up_inherited() -> None:
    """In a process that was forked: leave the locks to its parent alone."""
    for lock in held:
        lock.close()
    held.clear()
