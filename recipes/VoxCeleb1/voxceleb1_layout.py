"""Where VoxCeleb1's audio, trial lists and table of speakers are.

The zips end up in folders of several layouts; what is found in them does not
depend on the order of the file system.
"""

import csv
import http.client
import logging
import os
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from audio_files import AUDIO_SUFFIXES, find_audio
from confinement import WAV_FOLDER, Confinement
from whole_files import replacing

from custom_modules.packed import list_packed
from custom_modules.scoring import read_trials, utterance_id

logger = logging.getLogger(__name__)

WAV_FOLDERS = ("wav", "*/wav", "*/*/wav")
# VoxCeleb1's lists by the names that papers use.
TRIAL_NAMES = {
    "O": "veri_test.txt",
    "O-clean": "veri_test2.txt",
    "E": "list_test_all.txt",
    "E-clean": "list_test_all2.txt",
    "H": "list_test_hard.txt",
    "H-clean": "list_test_hard2.txt",
}
TRIAL_LISTS = (TRIAL_NAMES["O-clean"], TRIAL_NAMES["O"])  # without a name
META_FILES = ("meta/vox1_meta.csv", "vox1_meta.csv")
TRIALS_URL = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/"
TIMEOUT = 30  # seconds without an answer

LAYOUT = """expected one of these layouts (.wav or .flac):
  wav/id10001/1zcIwhmdeo4/00001.wav            both zips into one folder
  dev/wav/id10001/1zcIwhmdeo4/00001.wav        and test/wav/...
  vox1_dev_wav/wav/id10001/1zcIwhmdeo4/00001.wav  and vox1_test_wav/wav/..."""


def find_utterances(data_folder: str | Path) -> dict[str, str]:
    """Find VoxCeleb1's audio in any of the layouts that its zips end up in.

    Looked for are `wav`, `*/wav` and `*/*/wav` in the data folder, each with
    <speaker>/<session>/<utterance>.wav (or .flac) below.

    Arguments
    ---------
    data_folder : str | Path
        VoxCeleb1.

    Returns
    -------
    utterances : dict[str, str]
        From utterance ID (`id10270/x6uYqmx31kE/00001`) to file, sorted.

    Raises
    ------
    FileNotFoundError
        If there is no audio; it says where it was looked for.
    ValueError
        If an utterance is there twice, a file elsewhere in the folders, or
        one of them a link out of these.

    Example
    -------
    >>> path = getfixture("tmp_path") / "wav" / "id10001" / "x" / "00001.wav"
    >>> path.parent.mkdir(parents=True)
    >>> path.touch()
    >>> list(find_utterances(getfixture("tmp_path")))
    ['id10001/x/00001']
    """
    data_folder = Path(data_folder).absolute()
    if not data_folder.is_dir():
        raise FileNotFoundError(
            f"there is no data_folder {data_folder}; {LAYOUT}"
        )
    utterances: dict[str, str] = {}
    confinement = Confinement(str(data_folder))
    for folder in _wav_folders(data_folder):
        for path in find_audio(folder):
            name = path[len(str(folder)) + 1 :].replace(os.sep, "/")
            confinement.check(path[len(str(data_folder)) + 1 :])
            if name.count("/") != 2:
                raise ValueError(
                    f"{path} is not <speaker>/<session>/<utterance> in "
                    f"{folder}: move it there or away; {LAYOUT}"
                )
            other = utterances.setdefault(utterance_id(name), path)
            if other is not path:
                raise ValueError(
                    f"utterance {utterance_id(name)} is there twice, as "
                    f"{other} and {path}: remove one of them"
                )
    if not utterances:
        places = "\n  ".join(str(data_folder / name) for name in WAV_FOLDERS)
        raise FileNotFoundError(
            f"no {' or '.join(AUDIO_SUFFIXES)} file found, looked in\n"
            f"  {places}\n{LAYOUT}"
        )
    return dict(sorted(utterances.items()))


def _wav_folders(data_folder: Path) -> list[Path]:
    """Existing folders of audio, each once and none within another."""
    packed = list_packed(data_folder)
    if packed is not None:
        tops = {match[0] for match in map(WAV_FOLDER.match, packed) if match}
        return [data_folder / top for top in sorted(tops)]
    folders: dict[Path, Path] = {}  # where it really is -> as found
    for pattern in WAV_FOLDERS:
        for folder in sorted(data_folder.glob(pattern)):
            is_nested = any(top in folder.parents for top in folders.values())
            if folder.is_dir() and not is_nested:
                folders.setdefault(folder.resolve(), folder)
    return list(folders.values())


def find_trials(
    data_folder: str | Path,
    save_folder: str | Path,
    trials: str | Path | None = None,
) -> Path:
    """Find the trial list of the test set, or fetch it from VoxCeleb's site.

    Arguments
    ---------
    data_folder : str | Path
        VoxCeleb1; looked in, and in its `meta`.
    save_folder : str | Path
        Where a list that was fetched is kept.
    trials : str | Path | None
        "O", "O-clean", "E", "E-clean", "H" or "H-clean" of VoxCeleb1; a path;
        or the name of a list in the folders above. None for "O-clean", else
        "O".

    Returns
    -------
    path : Path
        The trial list.

    Raises
    ------
    FileNotFoundError
        If it is nowhere; the message says what to put where.
    ValueError
        If the site answers with something else than a trial list.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "veri_test.txt").touch()
    >>> find_trials(folder, folder / "save").name
    'veri_test.txt'
    """
    data_folder = Path(data_folder).absolute()
    save_folder = Path(save_folder).absolute()
    trials = TRIAL_NAMES.get(str(trials), trials)
    names = (str(trials),) if trials else TRIAL_LISTS
    folders = (data_folder, data_folder / "meta")
    is_path = trials and trials not in TRIAL_NAMES.values()
    places = [Path(trials).absolute()] if is_path else []
    places += [folder / name for name in names for folder in folders]
    places += [save_folder / name for name in names]
    path = _first_file(places)
    if path:
        return path
    if names[0] in TRIAL_NAMES.values():
        return _download_trials(names[0], data_folder, save_folder / names[0])
    looked = "\n  ".join(dict.fromkeys(map(str, places)))
    raise FileNotFoundError(
        f"there is no trial list trials={trials}, looked for\n  {looked}\n"
        f"Correct it, or leave it out to use VoxCeleb's {TRIAL_LISTS[0]}"
    )


def _download_trials(name: str, data_folder: Path, path: Path) -> Path:
    url = TRIALS_URL + name
    advice = (
        f"download {url} to {data_folder / name}, or give a trial list of "
        f"your own: trials=<path>"
    )
    logger.info("no trial list in %s, fetching %s", data_folder, url)
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            content = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise FileNotFoundError(
            f"no trial list in {data_folder} or {data_folder / 'meta'}, and "
            f"it cannot be fetched ({error}): {advice}"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_bytes(content)
        try:
            read_trials(partial)
        except ValueError as error:
            raise ValueError(
                f"{url} answered with something else than a trial list "
                f"({error}): {advice}"
            ) from error
    return path


def find_gender_table(data_folder: str | Path) -> Path | None:
    """Find VoxCeleb1's table of speakers, which may be missing.

    Arguments
    ---------
    data_folder : str | Path
        VoxCeleb1; looked in, and in its `meta`.

    Returns
    -------
    path : Path | None
        `vox1_meta.csv`, if it is there.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "vox1_meta.csv").touch()
    >>> find_gender_table(folder).name
    'vox1_meta.csv'
    """
    return _first_file(Path(data_folder) / name for name in META_FILES)


def read_genders(path: str | Path) -> dict[str, str]:
    """Read the speakers' genders from VoxCeleb1's table of speakers.

    Arguments
    ---------
    path : str | Path
        `vox1_meta.csv`, separated by tabs (VoxCeleb's) or commas, with the
        columns "VoxCeleb1 ID" and "Gender" (m or f, or empty).

    Returns
    -------
    genders : dict[str, str]
        From speaker to "m" or "f"; without those whose gender is not given.

    Example
    -------
    >>> path = getfixture("tmp_path") / "vox1_meta.csv"
    >>> _ = path.write_text("VoxCeleb1 ID\\tGender\\nid10001\\tm\\n")
    >>> read_genders(path)
    {'id10001': 'm'}
    """
    with open(path, newline="", encoding="utf-8-sig") as file:
        header = file.readline()
        delimiter = "\t" if "\t" in header else ","
        columns = [column.strip() for column in header.split(delimiter)]
        if not {"VoxCeleb1 ID", "Gender"} <= set(columns):
            raise ValueError(
                f"{path}:1: no columns 'VoxCeleb1 ID' and 'Gender' in "
                f"{header.strip()!r}: get it from VoxCeleb, or remove it"
            )
        genders = {}
        reader = csv.DictReader(file, columns, delimiter=delimiter)
        for number, row in enumerate(reader, start=2):
            gender = (row["Gender"] or "").strip().lower()
            if gender not in ("m", "f", ""):
                raise ValueError(
                    f"{path}:{number}: gender {gender!r} must be m, f or empty"
                )
            if gender:
                genders[row["VoxCeleb1 ID"].strip()] = gender
    return genders


def _first_file(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)
