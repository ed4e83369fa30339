"""A folder of audio as a few large files, read by memory map.

For disks that seek slowly: opening one of 150,000 small files waits for the
disk several times, a slice of a large file once. A packed folder's name ends
in ".packed"; within it are

* `00000.samples`, …: the samples of one file after the other, as
  little-endian int16 where the file has 16 bits, else float32, its channels
  interleaved;
* `index.npz`: where each file's samples are, sorted by name.

A path such as `VoxCeleb1.packed/wav/id10001/1zcIwhmdeo4/00001.wav` names a
file in it, and `custom_modules.audio` reads it as if it were one.
"""

import functools
import hashlib
import mmap
import os
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

SUFFIX = ".packed"
INDEX = "index.npz"


class Entry(NamedTuple):
    """Where the samples of a file are, and what they are.

    Arguments
    ---------
    name : bytes
        Path within the folder, in UTF-8, with "/" between its parts.
    shard : int
        Number of the large file.
    offset : int
        Its first byte there.
    frames : int
        Samples of each channel.
    samplerate : int
        Hz.
    channels : int
        Interleaved.
    is_16_bit : bool
        int16, else float32.
    """

    name: bytes
    shard: int
    offset: int
    frames: int
    samplerate: int
    channels: int
    is_16_bit: bool


class PackedFile:
    """A file in a packed folder, with what is needed of `soundfile.SoundFile`.

    Arguments
    ---------
    shard : mmap.mmap | bytes
        The large file.
    entry : Entry
        Where the samples are in it, and what they are.

    Example
    -------
    >>> entry = Entry(b"a.wav", 0, 2, 2, 16000, 1, is_16_bit=True)
    >>> with PackedFile(b"__" + bytes([0, 0, 0, 64]), entry) as file:
    ...     file.seek(1)
    ...     file.subtype, file.read(1, dtype="float32")
    1
    ('PCM_16', array([[0.5]], dtype=float32))
    """

    def __init__(self, shard: mmap.mmap | bytes, entry: Entry):
        self.shard = shard
        self.offset = int(entry.offset)
        self.frames = int(entry.frames)
        self.samplerate = int(entry.samplerate)
        self.channels = int(entry.channels)
        self.dtype = np.dtype("<i2" if entry.is_16_bit else "<f4")
        self.subtype = "PCM_16" if entry.is_16_bit else "FLOAT"
        self.position = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass  # the map stays open

    def digest(self) -> str:
        """SHA-256 of its samples and of what they are."""
        kind = f"{self.samplerate} {self.channels} {self.subtype} "
        digest = hashlib.sha256(kind.encode())
        size = self.frames * self.channels * self.dtype.itemsize
        with memoryview(self.shard) as shard:
            digest.update(shard[self.offset : self.offset + size])
        return digest.hexdigest()

    def seek(self, frames: int) -> int:
        """Go to a frame, counted from the first."""
        if not 0 <= frames <= self.frames:
            raise OSError(f"it has {self.frames} frames, no frame {frames}")
        self.position = frames
        return frames

    def read(
        self, frames: int, dtype: str = "float32", always_2d: bool = True
    ) -> NDArray:
        """Copy the next frames, fewer at the end, as (frames, channels).

        Arguments
        ---------
        frames : int
            How many.
        dtype : str
            "float32", in [-1, 1] for 16 bits, or "int16" where these are.
        always_2d : bool
            True: nothing else is given.
        """
        if not always_2d or dtype not in ("float32", self.dtype.name):
            raise ValueError(
                f"cannot read {dtype} from {self.dtype} samples, "
                f"always_2d={always_2d}"
            )
        count = min(frames, self.frames - self.position) * self.channels
        frame_bytes = self.channels * self.dtype.itemsize
        start = self.offset + self.position * frame_bytes
        _fetch(self.shard, start, count * self.dtype.itemsize)
        stored = np.frombuffer(self.shard, self.dtype, count, start)
        stored = stored.reshape(-1, self.channels)
        self.position += len(stored)
        if self.dtype == dtype:
            return stored.copy()
        return np.multiply(stored, 2.0**-15, dtype=np.float32)


def _fetch(shard: mmap.mmap | bytes, start: int, size: int) -> None:
    """Have the disk read all of a slice at once, not page after page."""
    if size and hasattr(shard, "madvise"):
        page = start // mmap.PAGESIZE * mmap.PAGESIZE
        shard.madvise(mmap.MADV_WILLNEED, page, start + size - page)


class PackedFolder:
    """Open the files of a packed folder.

    Arguments
    ---------
    folder : str | Path
        What `custom_modules.packing.pack` wrote.

    Raises
    ------
    ValueError
        Where it is damaged or not there.

    Example
    -------
    >>> import soundfile
    >>> from custom_modules.packing import pack
    >>> root = getfixture("tmp_path")
    >>> soundfile.write(root / "ramp.wav", [0.0, 0.25, 0.5, 0.75], 16000)
    >>> pack([("ramp.wav", root / "ramp.wav")], root / "audio.packed")
    >>> folder = PackedFolder(root / "audio.packed")
    >>> folder.names(), folder.open("ramp.wav").frames
    (['ramp.wav'], 4)
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        try:
            with np.load(self.folder / INDEX) as arrays:
                self.index = Entry(**arrays)
            last = int(self.index.shard.max())
            self.shards = [
                _open_map(self.folder / shard_name(number))
                for number in range(last + 1)
            ]
        except Exception as error:  # of NumPy, zipfile or the disk
            raise ValueError(
                f"{self.folder}: no packed folder, or a damaged one "
                f"({type(error).__name__}: {error}): pack or copy it again"
            ) from error
        ends = self.index.offset + _num_bytes(self.index)
        for number, shard in enumerate(self.shards):
            end = ends[self.index.shard == number].max()
            if len(shard) < end:
                raise ValueError(
                    f"{self.folder / shard_name(number)}: truncated (it has "
                    f"{len(shard)} bytes, its index says {end}): pack or copy "
                    "the folder again"
                )

    def names(self) -> list[str]:
        """The files' names, sorted by their bytes."""
        return [name.decode() for name in self.index.name.tolist()]

    def open(self, name: str) -> PackedFile:
        """Open a file by its name, such as "wav/id10001/session/00001.wav".

        Raises
        ------
        FileNotFoundError
            Where there is none of the name.
        """
        names = self.index.name
        key = name.encode()
        row = len(names)
        if len(key) <= names.itemsize:  # else NumPy would copy all names
            row = int(np.searchsorted(names, np.array(key, names.dtype)))
        if row == len(names) or names[row] != key:
            raise FileNotFoundError(f"{self.folder} holds no {name}")
        entry = Entry(*(column[row] for column in self.index))
        return PackedFile(self.shards[entry.shard], entry)


def _open_map(path: Path) -> mmap.mmap:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


# A folder is opened once in a process; a packed folder is never changed.
_open_folder = functools.cache(PackedFolder)


def split_path(path: str | Path) -> tuple[str, str] | None:
    """Split a path at the packed folder in it.

    Arguments
    ---------
    path : str | Path
        Any path.

    Returns
    -------
    parts : tuple[str, str] | None
        The packed folder and the name within it; None where there is none.

    Example
    -------
    >>> split_path("data/VoxCeleb1.packed/wav/id10001/x/00001.wav")
    ('data/VoxCeleb1.packed', 'wav/id10001/x/00001.wav')
    >>> split_path("data/VoxCeleb1.packed"), split_path("a/b.wav")
    (('data/VoxCeleb1.packed', ''), None)
    """
    folder, suffix, name = f"{path}{os.sep}".partition(SUFFIX + os.sep)
    if not suffix:
        return None
    return folder + SUFFIX, name.rstrip(os.sep).replace(os.sep, "/")


def open_packed(path: str | Path) -> PackedFile | None:
    """Open a file in a packed folder; None where the path has none in it."""
    parts = split_path(path)
    if parts is None:
        return None
    folder, name = parts
    return _open_folder(folder).open(name)


def list_packed(path: str | Path) -> list[str] | None:
    """Names below a path that is, or is in, a packed folder.

    Arguments
    ---------
    path : str | Path
        Such as "VoxCeleb1.packed" or "VoxCeleb1.packed/wav".

    Returns
    -------
    names : list[str] | None
        Relative to the path; None where there is no packed folder in it.
    """
    parts = split_path(path)
    if parts is None:
        return None
    folder, name = parts
    prefix = f"{name}/" if name else ""
    return [
        other.removeprefix(prefix)
        for other in _open_folder(folder).names()
        if other.startswith(prefix)
    ]


def shard_name(number: int) -> str:
    """Name of a large file."""
    return f"{number:05d}.samples"


def _num_bytes(entry: Entry) -> NDArray:
    return entry.frames * entry.channels * np.where(entry.is_16_bit, 2, 4)
