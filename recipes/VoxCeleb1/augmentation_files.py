"""Recordings of noise and room impulse responses, found and checked."""

from pathlib import Path

from audio_files import find_audio, inspect_many


def find_noises(folder: str | Path, sample_rate: int) -> list[Path]:
    """Recordings of noise: MUSAN's folder, or any folder of audio."""
    files = _find(folder, "noise_folder", "MUSAN (https://www.openslr.org/17)")
    return _checked(files, sample_rate)


def find_rirs(folder: str | Path, sample_rate: int) -> list[Path]:
    """Room impulse responses: RIRS_NOISES' folder, or any folder of audio.

    RIRS_NOISES also holds noises: its `pointsource_noises` and what has
    "noise" in its name are left out.
    """
    files = _find(
        folder, "rir_folder", "RIRS_NOISES (https://www.openslr.org/28)"
    )
    parts = {"simulated_rirs", "real_rirs_isotropic_noises"}
    if any(parts & set(path.parts) for path in files):
        files = [
            path
            for path in files
            if "pointsource_noises" not in path.parts
            and "noise" not in path.name
        ]
    return _checked(files, sample_rate)


def _find(folder: str | Path, key: str, source: str) -> list[Path]:
    folder = Path(folder).absolute()
    try:
        files = [Path(path) for path in find_audio(folder)]
    except FileNotFoundError:
        files = []
    if not files:
        raise ValueError(
            f"{folder}: no audio files. Get {source} and say where it is with "
            f"--{key}=FOLDER, or train without by --{key}=null"
        )
    return files


def _checked(files: list[Path], sample_rate: int) -> list[Path]:
    _, problems = inspect_many(files, sample_rate)
    if problems:
        raise ValueError(
            f"{len(problems)} files for augmentation cannot be used; repair "
            "or remove them:\n  " + "\n  ".join(problems[:10])
        )
    return files
