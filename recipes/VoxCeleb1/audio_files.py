"""What is in an audio file, from its header.

A corpus of 150,000 files is checked without decoding it. Of each file the
header is read, and 0.1 s from the middle: enough to know the duration and to
find what would spoil a training (not audio, empty, cut short, silent).
Whole files are decoded only where these leave a doubt.
"""

import os
import struct
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile as sf
from progress import show_progress

from custom_modules.audio import check_rate
from custom_modules.packed import list_packed, open_packed

AUDIO_SUFFIXES = (".wav", ".flac")

FLOAT_SUBTYPES = ("FLOAT", "DOUBLE")  # can hold NaN and infinity
# Data size of a WAV written to a pipe, whose length was not known yet.
STREAMED = 0xFFFFFFFF
# libsndfile's frame count where a FLAC header does not give one is 2^63 - 1.
UNKNOWN_LENGTH = 2**62
BLOCK_SIZE = 2**16  # samples decoded at a time
HEAD_SIZE = 4096  # bytes of a WAV, its header among them
CHUNK_SIZE = 64  # files handed to a thread at a time
# Threads pay where several chunks in a row take longer than this a file.
SLOW = 5e-4  # s
NUM_SLOW_CHUNKS = 4
NUM_THREADS = 16


class AudioInfo(NamedTuple):
    """Number of samples (per channel), sample rate in Hz and channels."""

    num_samples: int
    sample_rate: int
    num_channels: int


def find_audio(
    folder: str | Path, suffixes: tuple[str, ...] = AUDIO_SUFFIXES
) -> list[str]:
    """Find all audio files under a folder, through links too.

    In a packed folder (see `custom_modules.packed`) that is what was packed.

    Hidden files and folders are left out: archives made on a Mac hold a
    ``._00001.wav``, which is not audio, beside every file.

    Arguments
    ---------
    folder : str | Path
        Where to look, at any depth.
    suffixes : tuple[str, ...]
        Of the files to find, in small letters; WAV and FLAC.

    Returns
    -------
    paths : list[str]
        Sorted by their parts, each beginning with `folder`; strings, for a
        million Paths take 5 s to make.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "id10001").mkdir()
    >>> (folder / "id10001" / "00001.wav").touch()
    >>> [path.removeprefix(str(folder)) for path in find_audio(folder)]
    ['/id10001/00001.wav']
    """
    folder = Path(folder)
    packed = list_packed(folder)
    if packed is not None:
        found = [f"{folder}{os.sep}{name}" for name in packed]
    elif folder.is_dir():
        found = list(_walk(str(folder), suffixes, frozenset()))
    else:
        raise FileNotFoundError(
            f"there is no folder {folder.absolute()}: give the one that "
            f"holds the audio files"
        )
    # By parts, not by character: a folder's files stay together.
    return sorted(found, key=lambda name: name.split(os.sep))


def _walk(
    folder: str,
    suffixes: tuple[str, ...],
    parents: frozenset[tuple[int, int]],
) -> Iterator[str]:
    """Yield audio files; a link to a parent folder is not followed again."""
    status = os.stat(folder)
    identity = (status.st_dev, status.st_ino)
    if identity in parents:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(entry.path, suffixes, parents | {identity})
            # A broken link is kept: reading it will tell the user.
            elif entry.name.lower().endswith(suffixes) and (
                entry.is_file() or entry.is_symlink()
            ):
                yield entry.path


def inspect_audio(path: str | Path, sample_rate: int) -> AudioInfo:
    """Read an audio file's header, and refuse what cannot be trained on.

    Higher sample rates and several channels are fine: they are resampled
    and mixed down when read. So is silence in a part of the file.

    Arguments
    ---------
    path : str | Path
        A WAV or FLAC file.
    sample_rate : int
        The model's, in Hz; the lowest that is accepted.

    Returns
    -------
    info : AudioInfo
        As the file is, before any resampling.

    Raises
    ------
    ValueError
        If the file is unreadable, not audio, empty, truncated, silent (all
        samples equal), not finite, of a lower sample rate or of one that
        `check_rate` refuses.

    Example
    -------
    >>> path = getfixture("tmp_path") / "ramp.wav"
    >>> sf.write(path, np.linspace(-0.5, 0.5, 8000), 16000)
    >>> inspect_audio(path, sample_rate=16000)
    AudioInfo(num_samples=8000, sample_rate=16000, num_channels=1)
    """
    try:
        packed = open_packed(path)
        if packed is not None:  # inspected when it was packed
            rate, channels = packed.samplerate, packed.channels
            info = AudioInfo(packed.frames, rate, channels)
        else:
            info = _inspect_wav(path) or _inspect_any(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"{path}: cannot be read ({reason})") from error
    if info.sample_rate < sample_rate:
        raise ValueError(
            f"{path}: sample rate {info.sample_rate} Hz is below the model's "
            f"{sample_rate} Hz, so that its bands above "
            f"{info.sample_rate // 2} Hz would be empty; resample or remove it"
        )
    check_rate(path, info.sample_rate, sample_rate)
    return info


def _inspect_wav(path: str | Path) -> AudioInfo | None:
    """Check a WAV's sizes; None where libsndfile is needed for the rest.

    libsndfile shortens a WAV without a word where the data chunk promises
    more than the file holds, hence the look at its chunks. That said, mono
    16-bit files (VoxCeleb's own) need no more, and this is 9 times faster.
    """
    with open(path, "rb", buffering=0) as file:
        file_size = os.fstat(file.fileno()).st_size
        if file_size == 0:
            raise ValueError(f"{path}: empty file (0 bytes)")
        head = file.read(HEAD_SIZE)

        def read(start: int, size: int) -> bytes:
            if start + size <= len(head):
                return head[start : start + size]
            file.seek(start)
            return file.read(size)

        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            return None
        layout, start = b"", 12
        while len(header := read(start, 8)) == 8:
            name, size = struct.unpack("<4sI", header)
            start += 8
            if name == b"data":
                break
            if name == b"fmt ":
                layout = read(start, 16)
            start += size + size % 2  # chunks are padded to even
        else:
            raise ValueError(f"{path}: truncated WAV (it ends in its header)")
        held = file_size - start
        size = held if size == STREAMED else size
        if size > held:
            raise ValueError(
                f"{path}: truncated (the header promises {size} bytes of "
                f"samples, the file holds {held})"
            )
        if len(layout) < 16:
            raise ValueError(f"{path}: not audio (no format before the data)")
        coding, channels, rate, _, _, bits = struct.unpack("<HHIIHH", layout)
        if (coding, channels, bits) != (1, 1, 16):
            return None
        num_samples = size // 2
        first, count = _middle(num_samples, rate)
        window = read(start + first * 2, count * 2)
        if window == window[:2] * count:  # constant, or nothing at all
            return None
        return AudioInfo(num_samples, rate, channels)


def _inspect_any(path: str | Path) -> AudioInfo:
    """Check a file of any kind that libsndfile reads."""
    try:
        with sf.SoundFile(path) as file:
            info = AudioInfo(file.frames, file.samplerate, file.channels)
            if info.num_samples <= 0:
                raise ValueError(f"{path}: no samples in it")
            if info.num_samples > UNKNOWN_LENGTH:
                raise ValueError(
                    f"{path}: the header does not give its length; encode it "
                    f"again"
                )
            if not _can_read_last(file):
                raise ValueError(
                    f"{path}: truncated (the header promises "
                    f"{info.num_samples} samples, the last is not there)"
                )
            if file.subtype in FLOAT_SUBTYPES or _is_middle_constant(file):
                _check_all_samples(file, path)
            return info
    except sf.LibsndfileError as error:
        raise ValueError(
            f"{path}: not audio, or damaged ({error.error_string})"
        ) from error


def _middle(num_samples: int, sample_rate: int) -> tuple[int, int]:
    """First sample and size of the window of 0.1 s around the middle."""
    count = min(num_samples, max(sample_rate // 10, 1))
    return (num_samples - count) // 2, count


def _can_read_last(file: sf.SoundFile) -> bool:
    try:
        file.seek(file.frames - 1)
        return len(file.read(1)) == 1
    except sf.LibsndfileError:
        return False


def _is_middle_constant(file: sf.SoundFile) -> bool:
    first, count = _middle(file.frames, file.samplerate)
    file.seek(first)
    mono = file.read(count, always_2d=True).mean(axis=1)  # (samples,)
    return np.ptp(mono) == 0


def _check_all_samples(file: sf.SoundFile, path: str | Path) -> None:
    """Decode all of a file; refuse NaN, infinity and silence."""
    file.seek(0)
    low, high = np.inf, -np.inf
    for block in file.blocks(BLOCK_SIZE, dtype="float32", always_2d=True):
        if not np.isfinite(block).all():
            raise ValueError(f"{path}: NaN or infinity among its samples")
        mono = block.mean(axis=1)  # (samples,)
        low, high = min(low, mono.min()), max(high, mono.max())
    if low == high:
        raise ValueError(f"{path}: silent (all samples are {low:g})")


def inspect_many(
    paths: Sequence[str | Path],
    sample_rate: int,
    num_workers: int | None = None,
) -> tuple[list[AudioInfo | None], list[str]]:
    """Inspect many files at once, with a progress bar on a terminal.

    Arguments
    ---------
    paths : Sequence[str | Path]
        WAV or FLAC files.
    sample_rate : int
        The model's, in Hz.
    num_workers : int | None
        Threads; None for one, and 16 where the disk lets a file wait: where
        it does not, threads only wait for each other.

    Returns
    -------
    infos : list[AudioInfo | None]
        One per path; None where there is a problem.
    problems : list[str]
        What `inspect_audio` says of these, in the order of `paths`.

    Example
    -------
    >>> path = getfixture("tmp_path") / "empty.wav"
    >>> path.touch()
    >>> infos, problems = inspect_many([path], sample_rate=16000)
    >>> infos, len(problems)
    ([None], 1)
    """
    if num_workers is not None and num_workers < 1:
        raise ValueError(
            f"num_workers ({num_workers}) must be at least 1, or None to "
            f"have it chosen"
        )

    def inspect_chunk(start: int) -> list[AudioInfo | str]:
        chunk = []
        for path in paths[start : start + CHUNK_SIZE]:
            try:
                chunk.append(inspect_audio(path, sample_rate))
            except ValueError as error:
                chunk.append(str(error))
        return chunk

    def inspect_chunks() -> Iterator[list[AudioInfo | str]]:
        starts = iter(range(0, len(paths), CHUNK_SIZE))
        if num_workers in (1, None):
            num_slow = 0
            for start in starts:
                before = time.perf_counter()
                yield inspect_chunk(start)
                seconds = (time.perf_counter() - before) / CHUNK_SIZE
                num_slow = num_slow + 1 if seconds > SLOW else 0
                if num_workers is None and num_slow == NUM_SLOW_CHUNKS:
                    break
        # Threads, not processes: what costs is waiting for the disk, and no
        # fork is safe beside torch's threads.
        with ThreadPoolExecutor(num_workers or NUM_THREADS) as pool:
            yield from pool.map(inspect_chunk, starts)

    inspected = chain.from_iterable(inspect_chunks())
    results = list(
        show_progress(inspected, "Audio headers", "file", len(paths))
    )
    infos = [None if isinstance(result, str) else result for result in results]
    return infos, [result for result in results if isinstance(result, str)]
