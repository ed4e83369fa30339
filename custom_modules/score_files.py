"""Score files of other toolkits.

One trial per line, fields separated by blanks, tabs or commas: two names, a
score and, where the toolkit writes one, a label, in any order:

    id10270/a/1.wav id10270/b/1.wav 0.61          Kaldi
    id10270/a/1.wav id10270/b/1.wav 0.61 target   WeSpeaker
    1 id10270/a/1.wav id10270/b/1.wav 0.61        this toolkit

or the scores alone, in the order of a trial list.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from custom_modules.trials import Trials, utterance_id

LABELS = {
    "1": True,
    "target": True,
    "tgt": True,
    "0": False,
    "nontarget": False,
    "non-target": False,
    "imposter": False,
    "impostor": False,
}
SHOWN = 80  # characters of an offending line


class ScoreFile(NamedTuple):
    """What a score file says.

    Arguments
    ---------
    scores : np.ndarray
        float64 (trials,), finite.
    pairs : list[tuple[str, str]] | None
        The two names of each trial, as written; None of scores alone.
    is_target : np.ndarray | None
        bool (trials,); None where there are no labels.
    """

    scores: np.ndarray
    pairs: list[tuple[str, str]] | None
    is_target: np.ndarray | None


def read_score_file(path: str | Path) -> ScoreFile:
    """Read a score file of any toolkit.

    Arguments
    ---------
    path : str | Path
        UTF-8 text.

    Returns
    -------
    score_file : ScoreFile
        In the order of the file.

    Raises
    ------
    FileNotFoundError
        Where there is no such file.
    ValueError
        `path:line: …` for a line that has another number of fields than the
        first, or no finite score; `path: …` where the columns do not tell.

    Example
    -------
    >>> path = getfixture("tmp_path") / "scores.txt"
    >>> _ = path.write_text("a/1 a/2 0.75 target\\na/1 b/1 -0.5 nontarget\\n")
    >>> read_score_file(path).pairs
    [('a/1', 'a/2'), ('a/1', 'b/1')]
    """
    path = Path(path).absolute()
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; give a score file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text (byte {error.start}); give a score file"
        ) from error
    lines = text.rstrip().split("\n")
    rows = [[x for x in re.split(r"[\s,]+", line) if x] for line in lines]
    for number, row in enumerate(rows, start=1):
        if not row or len(row) != len(rows[0]) or len(row) not in (1, 3, 4):
            raise ValueError(
                f"{path}:{number}: {len(row)} fields in "
                f"{lines[number - 1].rstrip()[:SHOWN]!r}; a line has a score, "
                "two names and a score, or these and a label, and all lines "
                "alike"
            )
    columns = list(map(list, zip(*rows, strict=True)))
    names, score, label = _tell_columns(columns, path)
    scores = _finite(columns[score], path)
    is_target = None
    if label is not None:
        is_target = np.array([LABELS[x.lower()] for x in columns[label]])
    pairs = None
    if names:
        pairs = list(zip(*(columns[place] for place in names), strict=True))
    return ScoreFile(scores, pairs, is_target)


def _tell_columns(
    columns: list[list[str]], path: Path
) -> tuple[list[int], int, int | None]:
    """Places of the names, of the score and of the label."""
    labels = [
        place
        for place, column in enumerate(columns)
        if len(columns) == 4 and {x.lower() for x in column} <= LABELS.keys()
    ]
    numbers = [
        place
        for place, column in enumerate(columns)
        if place not in labels and all(map(_is_number, column))
    ]
    if len(columns) == 1:
        return [], 0, None
    if len(labels) != (len(columns) == 4) or len(numbers) != 1:
        raise ValueError(
            f"{path}: which of the {len(columns)} columns is the score does "
            f"not show ({len(numbers)} have numbers alone, {len(labels)} "
            "labels 0 and 1, or target and nontarget); write 'label enrol "
            "test score' lines"
        )
    names = sorted({*range(len(columns))} - {*labels, *numbers})
    return names, numbers[0], labels[0] if labels else None


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _finite(fields: Sequence[str], path: Path) -> np.ndarray:
    for number, field in enumerate(fields, start=1):
        if not _is_number(field) or not math.isfinite(float(field)):
            raise ValueError(
                f"{path}:{number}: score {field[:SHOWN]!r} is no finite number"
            )
    return np.array([float(field) for field in fields])


def match_scores(
    score_file: ScoreFile, trials: Trials, path: str | Path
) -> np.ndarray:
    """The score of each trial of a list.

    Arguments
    ---------
    score_file : ScoreFile
        Of `read_score_file`.
    trials : Trials
        The list.
    path : str | Path
        Of the score file, for errors.

    Returns
    -------
    scores : np.ndarray
        float64 (trials,), in the order of the list. Names are compared
        without their audio suffix.

    Raises
    ------
    ValueError
        Names the file: another number of rows than the list has, a trial
        without a score, two scores for one trial, another label.

    Example
    -------
    >>> trials = Trials(["a/1", "a/1"], ["b/1", "a/2"], np.array([0, 1], bool))
    >>> pairs = [("a/1.wav", "a/2.wav"), ("a/1.wav", "b/1.wav")]
    >>> scored = ScoreFile(np.array([0.7, 0.2]), pairs, None)
    >>> match_scores(scored, trials, "scores.txt")
    array([0.2, 0.7])
    """
    scores, pairs, labels = score_file
    if len(scores) != len(trials.enrol):
        raise ValueError(
            f"{path}: {len(scores)} rows for a list of {len(trials.enrol)} "
            "trials: give the trial list that was scored"
        )
    if pairs is None:
        return scores
    scored: dict[tuple[str, str], int] = {}
    for row, (enrol, test) in enumerate(pairs):
        pair = utterance_id(enrol), utterance_id(test)
        before = scored.setdefault(pair, row)
        if scores[before] != scores[row]:
            raise ValueError(
                f"{path}:{row + 1}: {enrol} and {test} have the score "
                f"{scores[before]:g} in line {before + 1} and {scores[row]:g} "
                "here"
            )
    rows = []
    for enrol, test, is_target in zip(*trials, strict=True):
        row = scored.get((utterance_id(enrol), utterance_id(test)))
        if row is None:
            raise ValueError(f"{path}: no score of the trial {enrol} {test}")
        if labels is not None and labels[row] != is_target:
            raise ValueError(
                f"{path}:{row + 1}: the trial {enrol} {test} has another label "
                "than in the trial list"
            )
        rows.append(row)
    return scores[rows]
