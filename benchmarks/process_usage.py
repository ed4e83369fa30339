"""What the processes of a session hold, as Linux tells it in /proc."""

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

# Where a process tells its memory: PSS counts a page that n processes share as
# an n-th of a page for each, RSS as a page. Without the pages of files, such
# as torch's libraries: their share depends on what else the machine runs.
MEMORY = {
    "PSS": ("smaps_rollup", ("Pss_Anon", "Pss_Shmem")),
    "RSS": ("status", ("RssAnon", "RssShmem")),
}


class Usage(NamedTuple):
    """What one process holds, or several together.

    Arguments
    ---------
    megabytes : float
        Memory, PSS or RSS, without that of mapped files.
    handles : int
        Open file descriptors.
    threads : int
        Threads.
    """

    megabytes: float
    handles: int
    threads: int


def memory_kind() -> str:
    """PSS where this system tells it, else RSS.

    Example
    -------
    >>> memory_kind() in MEMORY
    True
    """
    path = Path("/proc/self/smaps_rollup")
    tells_parts = path.is_file() and "Pss_Shmem" in path.read_text()
    return "PSS" if tells_parts else "RSS"


def read_usage(pid: int, kind: str) -> Usage:
    """What a process holds.

    Arguments
    ---------
    pid : int
        Of the process.
    kind : str
        Of memory, "PSS" or "RSS".

    Raises
    ------
    OSError
        Where it has ended.
    """
    folder = Path("/proc") / str(pid)
    name, fields = MEMORY[kind]
    kibibytes = sum(_number(folder / name, field) for field in fields)
    return Usage(
        kibibytes * 1024 / 1e6,
        len(os.listdir(folder / "fd")),
        _number(folder / "status", "Threads"),
    )


def _number(path: Path, field: str) -> int:
    match = re.search(rf"^{field}:\s+(\d+)", path.read_text(), re.MULTILINE)
    if match is None:  # the process has given all back, and is about to end
        raise ProcessLookupError(f"{path} has no {field}")
    return int(match[1])


def processes_of(session: int) -> set[int]:
    """Processes of a session, orphans too; not those that have ended.

    Arguments
    ---------
    session : int
        Process that the session began with.
    """
    pids = set()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ends as we look
            text = (path / "stat").read_text()
            state, _, _, its_session = text.rpartition(")")[2].split()[:4]
            if int(its_session) == session and state != "Z":
                pids.add(int(path.name))
    return pids
