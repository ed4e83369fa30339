#!/usr/bin/env python3
"""Pack a folder of audio into a few large files, for disks that seek slowly.

usage: python pack.py data/VoxCeleb1 data/VoxCeleb1.packed

The packed folder then stands where the folder stood, as in
--data_folder=data/VoxCeleb1.packed, --noise_folder=data/musan.packed or
--rir_folder=data/RIRS_NOISES.packed: the samples are the same.
"""

import shutil
from pathlib import Path

from audio_files import find_audio, inspect_many
from command import Parser, run
from progress import show_progress

from custom_modules.packing import pack

# Trial lists and tables of speakers.
DOCUMENTS = ("*.txt", "*.csv", "meta/*.txt", "meta/*.csv")
BYTES = 4  # of a sample, at most
ANY_RATE = 1  # Hz; whether a rate suits a model is seen in training


def pack_folder(source: Path, target: Path) -> None:
    """Inspect and pack all audio of a folder, and copy its documents.

    Arguments
    ---------
    source : Path
        Such as VoxCeleb1, in one of its layouts, or MUSAN.
    target : Path
        Its name ends in ".packed"; not there yet.

    Raises
    ------
    ValueError
        Names the files that cannot be used, or says how much room the disk
        lacks.
    FileNotFoundError
        Where the source is not there.
    """
    files = find_audio(source)
    infos, problems = inspect_many(files, ANY_RATE)
    if problems:
        raise ValueError(
            f"{len(problems)} of {len(files)} audio files cannot be used; "
            "repair or remove them:\n  " + "\n  ".join(problems[:10])
        )
    needed = sum(info.num_samples * info.num_channels for info in infos) * BYTES
    parent = target.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(parent).free
    if needed > free:
        raise ValueError(
            f"{parent}: {needed / 1e9:.1f} GB may be needed, {free / 1e9:.1f} "
            "GB are free: make room, or pack to another disk"
        )
    root = len(str(source)) + 1
    names = [Path(path[root:]).as_posix() for path in files]
    documents = {
        path.relative_to(source).as_posix(): path
        for pattern in DOCUMENTS
        for path in sorted(source.glob(pattern))
        if path.is_file()
    }
    pairs = zip(names, files, strict=True)
    progress = show_progress(pairs, "Packing", "file", len(files))
    pack(progress, target, documents)


def main(argv: list[str]) -> None:
    """Pack a folder as the command line says."""
    parser = Parser(
        prog="pack.py",
        description="Pack a folder of audio into a few large files.",
        epilog="Example: python pack.py data/VoxCeleb1 data/VoxCeleb1.packed",
    )
    parser.add_argument("source", type=Path, help="folder of audio files")
    parser.add_argument(
        "target", type=Path, help="folder to write, ends in .packed"
    )
    args = parser.parse_args(argv)
    pack_folder(args.source, args.target)


if __name__ == "__main__":
    run(main)
