"""Recordings of noise and room impulse responses, found and checked."""

from pathlib import Path

from audio_files import find_audio, inspect_many
from processes import run_on_main

from custom_modules.degradation import Degradation


def find_noises(
    folder: str | Path, sample_rate: int, key: str = "noise_folder"
) -> list[Path]:
    """Recordings of noise: MUSAN's folder, or any folder of audio.

    Arguments
    ---------
    folder : str | Path
        Where to look.
    sample_rate : int
        The model's, in Hz.
    key : str
        What the command line calls the folder.
    """
    files = _find(folder, key, "MUSAN (https://www.openslr.org/17)")
    return _checked(files, sample_rate)


def make_degradation(hparams: dict, sample_rate: int) -> Degradation | None:
    """What verify.yaml asks to be done to the trials' recordings.

    Arguments
    ---------
    hparams : dict
        max_seconds, test_noise_folder, test_snr and seed.
    sample_rate : int
        The model's, in Hz.

    Returns
    -------
    degradation : Degradation | None
        None: as recorded.

    Raises
    ------
    ValueError
        Names the key that is wrong or missing, or the folder without noise.

    Example
    -------
    >>> hparams = {"max_seconds": 2, "seed": 0}
    >>> hparams |= {"test_noise_folder": None, "test_snr": None}
    >>> str(make_degradation(hparams, 16000))
    'first 2 s'
    """
    folder, snr = hparams["test_noise_folder"], hparams["test_snr"]
    if (folder is None) != (snr is None):
        raise ValueError(
            f"test_noise_folder ({folder}) and test_snr ({snr}): give both, or "
            "leave both null for recordings without noise"
        )
    if folder is None and hparams["max_seconds"] is None:
        return None
    for key in ("max_seconds", "test_snr"):
        value = hparams[key]
        if value is not None and type(value) not in (int, float):
            raise ValueError(f"{key} ({value!r}) must be a number, or null")
    noises = []
    if folder is not None:
        noises = run_on_main(
            find_noises, folder, sample_rate, "test_noise_folder"
        )
    return Degradation(
        hparams["max_seconds"], noises, snr, sample_rate, hparams["seed"]
    )


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
            f"--{key}=FOLDER, or do without by --{key}=null"
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
