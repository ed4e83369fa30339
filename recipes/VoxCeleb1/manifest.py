"""A manifest in the memory that its file takes.

A Python object for every value would take 500 MB for a million utterances,
and each of the loader's workers would come to have a copy of its own: a
process that looks at an object writes to its reference count. So the file
stays text in one piece, and a row is parsed when it is asked for.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from confinement import Confinement

ROOT = "$data_root"


class Row(NamedTuple):
    """An utterance.

    Arguments
    ---------
    utt_id : str
        Such as id10270/x6uYqmx31kE/00001.
    duration : float
        In s.
    wav : str
        Its file.
    spk_id : str
        Its speaker.
    """

    utt_id: str
    duration: float
    wav: str
    spk_id: str


class Manifest(Sequence):
    """Rows of a CSV file of `voxceleb1_prepare`.

    Arguments
    ---------
    path : str | Path
        The file: columns ID, duration, wav and spk_id.
    data_folder : str | Path
        What `$data_root` stands for.

    Raises
    ------
    ValueError
        Names the file and the line that is no row, or whose audio leaves the
        data folder.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train.csv"
    >>> _ = path.write_text("ID,duration,wav,spk_id\\na,1.5,$data_root/a.wav,s")
    >>> Manifest(path, "data")[0]
    Row(utt_id='a', duration=1.5, wav='data/a.wav', spk_id='s')
    """

    HEADER = b"ID,duration,wav,spk_id"

    def __init__(self, path: str | Path, data_folder: str | Path):
        self.path = Path(path)
        self.data_folder = str(data_folder)
        self.confinement = Confinement(self.data_folder)
        try:
            self.content = self.path.read_bytes()
        except OSError as error:
            raise ValueError(f"{path}: cannot be read ({error})") from error
        if self.content and not self.content.endswith(b"\n"):
            self.content += b"\n"
        ends = np.flatnonzero(np.frombuffer(self.content, np.uint8) == 10)
        header = self.content[: ends[0]].strip() if len(ends) else b""
        if header != self.HEADER or len(ends) < 2:
            raise ValueError(
                f"{path}:1: no manifest: its first line must be "
                f"{self.HEADER.decode()}, with rows below; delete it to have "
                "it made anew"
            )
        self.starts = ends + 1  # the last is the end of the file

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.path} has {len(self)} rows, no {index}")
        line = self.content[self.starts[index] : self.starts[index + 1]]
        try:
            (values,) = csv.reader([line.decode()], strict=True)
            utt_id, duration, wav, spk_id = values
            seconds = float(duration)
            if not (utt_id and wav and spk_id and 0 < seconds < math.inf):
                raise ValueError("a value is empty, or the duration no length")
            root, _, name = wav.partition("/")
            if root != ROOT:
                raise ValueError(f"wav must begin with {ROOT}/")
            self.confinement.check(name)
        except (ValueError, csv.Error) as error:
            raise ValueError(
                f"{self.path}:{index + 2}: no row of {self.HEADER.decode()}: "
                f"{line.decode(errors='replace').strip()[:200]!r} "
                f"({str(error)[:200]}); delete the manifest to have it made "
                "anew"
            ) from error
        return Row(utt_id, seconds, f"{self.data_folder}/{name}", spk_id)

    def hours(self) -> float:
        """Length of all utterances together."""
        return sum(row.duration for row in self) / 3600

    def __iter__(self) -> Iterator[Row]:
        return (self[index] for index in range(len(self)))
