"""SHA-256 of every file of a folder, to find out whether it is whole.

A file cut short, or one in which a bit was flipped, can often be read: torch
does not check the sums that are in its own files.
"""

import hashlib
import os
from pathlib import Path

SUMS = "SHA256SUMS"  # in the format of the command sha256sum


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's content, as sha256sum prints it.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.txt"
    >>> _ = path.write_text("a")
    >>> file_digest(path)[:8]
    'ca978112'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_checksums(folder: str | Path) -> None:
    """Write SHA256SUMS beside the files of a folder, and all of it to disk.

    `sha256sum --check SHA256SUMS`, typed there, compares them.

    Arguments
    ---------
    folder : str | Path
        With files alone, no folders.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "a.txt").write_text("a")
    >>> write_checksums(folder)
    >>> (folder / SUMS).read_text()[:8], find_damage(folder)
    ('ca978112', None)
    """
    folder = Path(folder)
    files = sorted(path for path in folder.iterdir() if path.name != SUMS)
    lines = [f"{file_digest(path)}  {path.name}\n" for path in files]
    (folder / SUMS).write_text("".join(lines), "utf-8")
    for path in [*files, folder / SUMS, folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def find_damage(folder: str | Path) -> str | None:
    """Compare the files of a folder with its SHA256SUMS.

    Arguments
    ---------
    folder : str | Path
        Of :func:`write_checksums`.

    Returns
    -------
    damage : str | None
        What is wrong; None where all files are as they were written.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "a.txt").write_text("a")
    >>> write_checksums(folder)
    >>> _ = (folder / "a.txt").write_text("b")
    >>> find_damage(folder)
    'a.txt is not as it was written'
    """
    folder = Path(folder)
    try:
        lines = (folder / SUMS).read_text("utf-8").splitlines()
        for line in lines:
            digest, separator, name = line.partition("  ")
            if not separator or "/" in name:
                return f"{SUMS} is no list of checksums"
            if file_digest(folder / name) != digest:
                return f"{name} is not as it was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, UnicodeDecodeError) as error:
        return str(error)
    return None if lines else f"{SUMS} is empty"
