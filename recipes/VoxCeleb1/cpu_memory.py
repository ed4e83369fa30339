"""Memory of a process that trains or embeds on the CPU."""

import ctypes
import sys

# Parameters of glibc's mallopt, from malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
TOP_PAD = 2**28  # bytes


def keep_freed_memory() -> bool:
    """Have glibc keep the memory that is freed, for what is allocated next.

    Tensors of many megabytes are else fetched from the kernel and given back
    at every operation, and each of their pages is cleared anew: a fifth of a
    training step on the CPU. The process stays as large as it once was, and
    up to a half larger than it would be. On a GPU torch does the same by
    itself.

    Returns
    -------
    is_kept : bool
        False where the C library is another one; then nothing is changed.

    Example
    -------
    >>> keep_freed_memory() in (True, False)
    True
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):  # musl has a mallopt too
        return False
    return all(
        libc.mallopt(parameter, value) == 1
        for parameter, value in (
            (M_MMAP_MAX, 0),
            (M_TRIM_THRESHOLD, 2**31 - 1),
            (M_TOP_PAD, TOP_PAD),
        )
    )
