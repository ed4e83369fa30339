"""Score files as other toolkits write them."""

import itertools

import numpy as np
import pytest

from custom_modules.score_files import match_scores, read_score_file
from custom_modules.trials import Trials

ROWS = [
    ("1", "a/s/1.wav", "a/s/2.wav", "0.75"),
    ("0", "a/s/1.wav", "b/s/1.wav", "-1e-3"),
    ("0", "b/s/1.wav", "c/s/1.wav", "0.5"),
]
TRIALS = Trials(
    ["a/s/1.wav", "a/s/1.wav", "b/s/1.wav"],
    ["a/s/2.wav", "b/s/1.wav", "c/s/1.wav"],
    np.array([True, False, False]),
)
SCORES = [0.75, -1e-3, 0.5]


def write(path, rows, separator=" "):
    path.write_text("".join(separator.join(row) + "\n" for row in rows))
    return path


# The enrolled name is the first one, by convention.
ORDERS = [
    order
    for order in itertools.permutations(range(4))
    if order.index(1) < order.index(2)
]


@pytest.mark.parametrize("order", ORDERS)
def test_columns_are_told_apart_in_any_order(tmp_path, order):
    rows = [[row[place] for place in order] for row in ROWS]
    found = read_score_file(write(tmp_path / "scores.txt", rows))
    assert found.scores.tolist() == SCORES
    assert found.is_target.tolist() == [True, False, False]
    assert found.pairs == [row[1:3] for row in ROWS]


@pytest.mark.parametrize("separator", [" ", "\t", ",", ", "])
@pytest.mark.parametrize(
    "labels", [("target", "nontarget"), ("tgt", "impostor")]
)
def test_words_for_labels_and_any_separator(tmp_path, separator, labels):
    rows = [(*row[1:], labels[row[0] == "0"]) for row in ROWS]
    found = read_score_file(write(tmp_path / "scores.csv", rows, separator))
    assert found.is_target.tolist() == [True, False, False]
    assert found.scores.tolist() == SCORES


def test_a_list_gives_the_order_and_the_labels(tmp_path):
    rows = [row[1:] for row in reversed(ROWS)]
    path = write(tmp_path / "scores.txt", rows)
    found = read_score_file(path)
    assert found.is_target is None
    assert match_scores(found, TRIALS, path).tolist() == SCORES


def test_names_match_without_their_suffix(tmp_path):
    rows = [[x.removesuffix(".wav") for x in row[1:]] for row in ROWS]
    path = write(tmp_path / "scores.txt", rows)
    scores = match_scores(read_score_file(path), TRIALS, path)
    assert scores.tolist() == SCORES


def test_scores_alone_are_in_the_list_s_order(tmp_path):
    path = write(tmp_path / "scores.txt", [[row[3]] for row in ROWS])
    found = read_score_file(path)
    assert found.pairs is None
    assert match_scores(found, TRIALS, path).tolist() == SCORES


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (ROWS[:2], "2 rows for a list of 3 trials"),
        ([*ROWS[:2], ROWS[0]], r"no score of the trial b/s/1\.wav c/s/1\.wav"),
        ([*ROWS[:2], (*ROWS[0][:3], "0.1")], r"txt:3: .* 0\.75 in line 1"),
        (
            [*ROWS[:2], ("1", *ROWS[2][1:])],
            r"txt:3: the trial .* another label",
        ),
    ],
    ids=["rows", "missing", "two scores", "label"],
)
def test_other_trials_than_the_list_s_are_named(tmp_path, rows, message):
    path = write(tmp_path / "scores.txt", rows)
    with pytest.raises(ValueError, match=message):
        match_scores(read_score_file(path), TRIALS, path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "txt:1: 0 fields"),
        ("1 a b 0.5\n0 a c\n", "txt:2: 3 fields"),
        ("a b\n", "txt:1: 2 fields"),
        ("a b nan\n", r"txt:1: score 'nan' is no finite number"),
        ("a b c\n", "0 have numbers alone"),
        ("1 a b 1\n0 a c 0\n", "which of the 4 columns is the score"),
        ("high\n", "score 'high' is no finite number"),
    ],
)
def test_a_file_that_does_not_tell_is_refused(tmp_path, text, message):
    path = tmp_path / "scores.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_score_file(path)


def test_no_file_and_no_text_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a file"):
        read_score_file(tmp_path / "nowhere.txt")
    path = tmp_path / "scores.npy"
    path.write_bytes(b"\x93NUMPY\xff")
    with pytest.raises(ValueError, match="is not UTF-8 text"):
        read_score_file(path)
