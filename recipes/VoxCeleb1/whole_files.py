"""Files that are there whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name; what was written there takes the place of path.

    So a file is there whole or not at all, however the process ends.

    Arguments
    ---------
    path : Path
        In an existing folder.

    Yields
    ------
    partial : Path
        To write to, in the same folder; hidden.

    Example
    -------
    >>> path = getfixture("tmp_path") / "list.txt"
    >>> with replacing(path) as partial:
    ...     _ = partial.write_text("all of it")
    ...     path.exists()
    False
    >>> path.read_text()
    'all of it'
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
