"""What went wrong where torch's own error does not say what to do."""

import contextlib
from collections.abc import Iterator

import torch
import torch.distributed as dist

OUT_OF_MEMORY = ("DefaultCPUAllocator", "out of memory")
LOST_PEER = ("Connection closed by peer", "Connection reset", "Socket closed")


@contextlib.contextmanager
def explaining_memory(tried: str) -> Iterator[None]:
    """Say what was tried where the memory of a device did not suffice.

    Arguments
    ---------
    tried : str
        Such as "a batch of 100 crops; lower --batch_size".

    Raises
    ------
    ValueError
        With it.

    Example
    -------
    >>> with explaining_memory("2^60 numbers; take fewer"):
    ...     torch.empty(2**60)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: out of memory with 2^60 numbers; take fewer (...)
    """
    try:
        yield
    except RuntimeError as error:
        is_it = isinstance(error, torch.OutOfMemoryError)
        if not is_it and not any(word in str(error) for word in OUT_OF_MEMORY):
            raise
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"out of memory with {tried} ({reason})") from error


def explain(error: RuntimeError) -> str | None:
    """What to do after an error of torch's that has a cause elsewhere.

    Arguments
    ---------
    error : RuntimeError
        The error.

    Returns
    -------
    message : str | None
        None where it is not known.

    Example
    -------
    >>> error = RuntimeError("DataLoader worker (pid 7) is killed by signal: …")
    >>> explain(error)[:30]
    'a worker that reads files was '
    >>> explain(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    """
    text = " ".join(str(error).split())[:200]
    if "DataLoader worker" in text:
        return (
            f"a worker that reads files was ended ({text}): where memory was "
            "short, give fewer --num_workers. The same command goes on from "
            "the last checkpoint"
        )
    is_peer = any(word in text for word in LOST_PEER)
    if is_peer or isinstance(error, dist.DistError):
        return (
            f"another process was lost ({text}); if it said why, that is "
            "above. The same command goes on from the last checkpoint"
        )
    return None
