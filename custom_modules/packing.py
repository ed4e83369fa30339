"""Write a folder of audio as a few large files; `packed` reads them."""

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import soundfile
from numpy.typing import NDArray

from custom_modules.packed import INDEX, SUFFIX, Entry, shard_name

SHARD_BYTES = 2**32
ALIGNMENT = 4  # bytes: a float32


def pack(
    files: Iterable[tuple[str, str | Path]],
    folder: str | Path,
    documents: Mapping[str, Path] = MappingProxyType({}),
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a packed folder, whole or not at all.

    Arguments
    ---------
    files : Iterable[tuple[str, str | Path]]
        Name within the folder, with "/" between its parts, and audio file.
    folder : str | Path
        To write; its name ends in ".packed", and it is not there yet.
    documents : Mapping[str, Path]
        Name within the folder → file that is copied as it is.
    shard_bytes : int
        A large file is closed when it has as many.

    Raises
    ------
    ValueError
        Where the name is another, the folder is there, there are no files,
        or one cannot be read.

    Example
    -------
    >>> root = getfixture("tmp_path")
    >>> soundfile.write(root / "ramp.wav", [0.0, 0.25, 0.5, 0.75], 16000)
    >>> pack([("ramp.wav", root / "ramp.wav")], root / "audio.packed")
    >>> sorted(path.name for path in (root / "audio.packed").iterdir())
    ['00000.samples', 'index.npz']
    """
    folder = Path(folder)
    if folder.suffix != SUFFIX:
        raise ValueError(f"{folder}: give a name that ends in {SUFFIX}")
    if folder.exists():
        raise ValueError(f"{folder} is there already: remove it, or rename")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        entries = sorted(_write_shards(files, partial, shard_bytes))
        if not entries:
            raise ValueError(f"{folder}: there are no audio files to pack")
        columns = zip(Entry._fields, zip(*entries, strict=True), strict=True)
        arrays = {field: np.array(column) for field, column in columns}
        np.savez(partial / INDEX, **arrays)
        for name, path in documents.items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, partial / name)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_shards(
    files: Iterable[tuple[str, str | Path]], folder: Path, shard_bytes: int
) -> list[Entry]:
    entries = []
    shard = offset = 0
    for name, path in files:
        samples, samplerate = _read_whole(path)
        content = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
        content += bytes(-len(content) % ALIGNMENT)
        if offset >= shard_bytes:
            shard, offset = shard + 1, 0
        entry = Entry(
            name.encode(),
            shard,
            offset,
            *(len(samples), samplerate, samples.shape[1]),
            samples.dtype == np.int16,
        )
        with open(folder / shard_name(shard), "ab") as file:
            file.write(content)
        offset += len(content)
        entries.append(entry)
    return entries


def _read_whole(path: str | Path) -> tuple[NDArray, int]:
    try:
        with soundfile.SoundFile(path) as file:
            dtype = "int16" if file.subtype == "PCM_16" else "float32"
            return file.read(dtype=dtype, always_2d=True), file.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error
