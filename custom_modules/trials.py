"""Verification trials: what they are, and their files.

A trial compares a test utterance with an enrolled one. VoxCeleb writes one
per line, ``label enrol test`` with label 1 for one speaker and 0 for two:

    1 id10270/x6uYqmx31kE/00001.wav id10270/8jEAjG6SegY/00008.wav

A score file has the score as a fourth field.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

AUDIO_SUFFIXES = ("wav", "flac", "m4a")
SHOWN = 80  # characters of an offending line


class Trials(NamedTuple):
    """Names as in the file, two lists and an array of (trials,) entries."""

    enrol: list[str]
    test: list[str]
    is_target: np.ndarray  # bool


def utterance_id(name: str) -> str:
    """Strip the audio suffix (.wav, .flac, .m4a) from a trial's name.

    Arguments
    ---------
    name : str
        A file below the data folder, or an identifier already.

    Returns
    -------
    utt_id : str

    Example
    -------
    >>> utterance_id("id10270/x6uYqmx31kE/00001.wav")
    'id10270/x6uYqmx31kE/00001'
    """
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and suffix.lower() in AUDIO_SUFFIXES else name


def speaker_id(name: str) -> str:
    """Read the speaker, the first folder of a trial's name.

    Arguments
    ---------
    name : str
        File name or utterance identifier, 'speaker/session/utterance'.

    Returns
    -------
    spk_id : str

    Example
    -------
    >>> speaker_id("id10270/x6uYqmx31kE/00001.wav")
    'id10270'
    """
    return name.split("/", 1)[0]


def _check_name(name: str) -> None:
    if name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"{name[:SHOWN]!r} leaves the data folder")


def _parse(line: str, has_score: bool) -> tuple[bool, str, str, float]:
    fields = line.split()
    if len(fields) != 3 + has_score:
        raise ValueError(f"{len(fields)} fields")
    label, enrol, test = fields[:3]
    if label not in ("0", "1"):
        raise ValueError(f"label {label[:SHOWN]!r}")
    _check_name(enrol)
    _check_name(test)
    score = float(fields[3]) if has_score else 0.0
    if not math.isfinite(score):
        raise ValueError(f"score {fields[3]!r} is not finite")
    return label == "1", enrol, test, score


def _read(path: str | Path, has_score: bool) -> tuple[Trials, np.ndarray]:
    form = "label enrol test" + " score" * has_score
    path = Path(path).absolute()
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not a file; expected a list of trials, one "
            f"'{form}' per line"
        )
    try:
        # -sig: a byte order mark is no part of the first label.
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text (byte {error.start}); expected one "
            f"'{form}' per line"
        ) from error
    if not text.strip():
        raise ValueError(f"{path} is empty; expected one '{form}' per line")
    rows = []
    for number, line in enumerate(text.rstrip().split("\n"), start=1):
        try:
            rows.append(_parse(line, has_score))
        except ValueError as error:
            raise ValueError(
                f"{path}:{number}: {str(error)[: 2 * SHOWN]} in "
                f"{line.rstrip()[:SHOWN]!r}; expected '{form}', label 0 or 1, "
                "names relative to the data folder"
            ) from error
    labels, enrol, test, scores = zip(*rows, strict=True)
    if len(set(labels)) == 1:
        raise ValueError(
            f"{path}: all {len(labels)} labels are {int(labels[0])}; error "
            "rates need target (1) and non-target (0) trials"
        )
    trials = Trials(list(enrol), list(test), np.array(labels))
    return trials, np.array(scores)


def read_trials(path: str | Path) -> Trials:
    """Read a list of trials, ``label enrol test`` per line.

    Arguments
    ---------
    path : str | Path
        UTF-8 text. Blank lines may stand at the end alone.

    Returns
    -------
    trials : Trials
        In the order of the file.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        `path:line: ...` for a bad line, among them a name that is absolute
        or has a part '..'; `path ...` where the file is no text, empty, or
        has trials of one class alone.

    Example
    -------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "trials.txt")
    >>> _ = path.write_text("1 a/1/1.wav a/2/1.wav\\n0 a/1/1.wav b/1/1.wav\\n")
    >>> read_trials(path).test
    ['a/2/1.wav', 'b/1/1.wav']
    """
    return _read(path, has_score=False)[0]


def read_scores(path: str | Path) -> tuple[Trials, np.ndarray]:
    """Read scored trials, ``label enrol test score`` per line.

    Arguments
    ---------
    path : str | Path
        What :func:`write_scores` wrote.

    Returns
    -------
    trials : Trials
        In the order of the file.
    scores : np.ndarray
        float64 (trials,), finite.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`read_trials`.

    Example
    -------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "scores.txt")
    >>> trials = Trials(["a/1"] * 2, ["a/2", "b/1"], np.array([True, False]))
    >>> write_scores(path, trials, [0.75, -0.5])
    >>> read_scores(path)[1]
    array([ 0.75, -0.5 ])
    """
    return _read(path, has_score=True)


def _write(path: str | Path, columns: Sequence[Sequence[str]]) -> None:
    # A reader finds the old file or the whole new one: rename is atomic
    # within a folder.
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            for row in zip(*columns, strict=True):
                file.write(" ".join(row) + "\n")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _columns(trials: Trials) -> list[list[str]]:
    for name in (*trials.enrol, *trials.test):
        if len(name.split()) != 1:
            raise ValueError(
                f"{name!r} cannot be written to a list of trials, whose "
                "fields whitespace separates; rename the file"
            )
    labels = [str(int(label)) for label in trials.is_target]
    return [labels, trials.enrol, trials.test]


def write_trials(path: str | Path, trials: Trials) -> None:
    """Write ``label enrol test`` lines, the whole file or nothing.

    Arguments
    ---------
    path : str | Path
        In an existing folder; an old file is replaced.
    trials : Trials
        To write, in this order.

    Raises
    ------
    ValueError
        Where a name is empty or has whitespace in it.

    Example
    -------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "trials.txt")
    >>> write_trials(path, Trials(["a/1"], ["b/1"], np.array([False])))
    >>> path.read_text()
    '0 a/1 b/1\\n'
    """
    _write(path, _columns(trials))


def write_scores(path: str | Path, trials: Trials, scores: ArrayLike) -> None:
    """Write ``label enrol test score`` lines, the whole file or nothing.

    Arguments
    ---------
    path : str | Path
        In an existing folder; an old file is replaced.
    trials : Trials
        To write, in this order.
    scores : ArrayLike
        Finite (trials,); written so that float64 reads back bit for bit.

    Raises
    ------
    ValueError
        As :func:`write_trials`, and for scores that are not finite or not
        one per trial.

    Example
    -------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "scores.txt")
    >>> trials = Trials(["a/1"], ["b/1"], np.array([False]))
    >>> write_scores(path, trials, [0.25])
    >>> path.read_text()
    '0 a/1 b/1 0.25\\n'
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.shape != (len(trials.enrol),) or not np.isfinite(scores).all():
        raise ValueError(
            f"scores of shape {scores.shape} must be finite and one for each "
            f"of the {len(trials.enrol)} trials"
        )
    _write(
        path, [*_columns(trials), [repr(score) for score in scores.tolist()]]
    )
