"""Trial lists and score files: every error names its place."""

import math

import numpy as np
import pytest

from custom_modules.trials import (
    Trials,
    read_scores,
    read_trials,
    speaker_id,
    utterance_id,
    write_scores,
    write_trials,
)

GOOD = "1 a/1/1.wav a/2/1.wav\n0 a/1/1.wav b/1/1.wav\n"
TRIALS = Trials(
    ["a/1/1.wav", "a/1/1.wav"],
    ["a/2/1.wav", "b/1/1.wav"],
    np.array([True, False]),
)


def same(left, right):
    return (
        left.enrol == right.enrol
        and left.test == right.test
        and left.is_target.dtype == right.is_target.dtype == bool
        and left.is_target.tolist() == right.is_target.tolist()
    )


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        GOOD.rstrip(),
        GOOD + "\n  \n\n",
        GOOD.replace("\n", "\r\n"),
        GOOD.replace(" ", "\t"),
        GOOD.replace(" ", "   "),
        "\ufeff" + GOOD,
    ],
    ids=["plain", "no-end", "blank-end", "crlf", "tabs", "wide", "bom"],
)
def test_a_list_reads_the_same_however_it_is_spaced(tmp_path, text):
    path = tmp_path / "trials.txt"
    path.write_bytes(text.encode())
    assert same(read_trials(path), TRIALS)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", "0 fields in ''"),
        ("   ", "0 fields in ''"),
        ("1 a/1/1.wav", "2 fields in '1 a/1/1.wav'"),
        ("1 a/1/1.wav a/2/1.wav 0.5", "4 fields in '1 a/1/1.wav a"),
        ("2 a/1/1.wav a/2/1.wav", "label '2' in '2 a/1/1.wav"),
        ("1.0 a/1/1.wav a/2/1.wav", r"label '1\.0' in"),
        ("a/1/1.wav a/2/1.wav 1", "label 'a/1/1.wav' in"),
        ("1 /a/1/1.wav a/2/1.wav", "'/a/1/1.wav' leaves the data folder"),
        ("1 a/1/1.wav a/../../1.wav", "'a/../../1.wav' leaves the data"),
        ("1 .. a/1/1.wav", r"'\.\.' leaves the data folder"),
        ("1 " + "x" * 200, r"2 fields in '1 x{78}'; expected"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, problem):
    path = tmp_path / "trials.txt"
    path.write_text(f"{GOOD}{line}\n{GOOD}")
    with pytest.raises(ValueError, match=f"^{path}:3: {problem}") as error:
        read_trials(path)
    assert "expected 'label enrol test', label 0 or 1" in str(error.value)


def test_names_with_dots_in_them_stay(tmp_path):
    path = tmp_path / "trials.txt"
    path.write_text(GOOD.replace("b/1", "b..c/.1"))
    assert read_trials(path).test[1] == "b..c/.1/1.wav"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty; expected one 'label enrol test' per line"),
        (b" \n\n", "is empty"),
        (b"1 a/1 a/2\n0 a/1 \xff\xfe\n", r"is not UTF-8 text \(byte 16\)"),
        (b"RIFF\x24\x80\x00\x00WAVE", "is not UTF-8 text"),
        (b"1 a/1 a/2\n1 a/1 a/3\n", ": all 2 labels are 1; error rates need"),
        (b"0 a/1 b/2\n", ": all 1 labels are 0; error rates need"),
    ],
)
def test_a_file_that_is_no_list_is_named(tmp_path, content, problem):
    path = tmp_path / "trials.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^{path} ?{problem}"):
        read_trials(path)


@pytest.mark.parametrize("name", ["none.txt", "."])
def test_a_missing_list_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"^{tmp_path}.* not a file"):
        read_trials(name)


@pytest.mark.parametrize(
    ("score", "problem"),
    [
        ("", "3 fields"),
        ("high", "could not convert string to float: 'high'"),
        ("nan", "score 'nan' is not finite"),
        ("1e999", "score '1e999' is not finite"),
        ("9" * 999, "score '9{153} in"),
    ],
)
def test_a_bad_score_is_named(tmp_path, score, problem):
    path = tmp_path / "scores.txt"
    path.write_text(f"1 a/1 a/2 0.5\n0 a/1 b/2 {score}\n")
    with pytest.raises(ValueError, match=f"^{path}:2: {problem}"):
        read_scores(path)


def test_written_trials_read_back(tmp_path):
    path = tmp_path / "trials.txt"
    write_trials(path, TRIALS)
    assert path.read_text() == GOOD
    assert same(read_trials(path), TRIALS)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_written_scores_read_back_bit_for_bit(tmp_path, dtype):
    path = tmp_path / "scores.txt"
    scores = np.array([1 / 3, -1e-17], dtype)
    write_scores(path, TRIALS, scores)
    trials, read = read_scores(path)
    assert same(trials, TRIALS)
    assert read.tolist() == scores.tolist()


@pytest.mark.parametrize(
    ("trials", "scores", "problem"),
    [
        (TRIALS, [0.5], r"shape \(1,\) must be .* each of the 2 trials"),
        (TRIALS, [0.5, math.nan], "must be finite"),
        (TRIALS._replace(test=["a b", "c"]), [0, 1], "'a b' cannot be written"),
        (TRIALS._replace(test=["", "c"]), [0, 1], "'' cannot be written"),
        (TRIALS._replace(test=["c"]), [0, 1], "shorter"),
    ],
)
def test_a_failed_write_leaves_the_old_file_alone(
    tmp_path, trials, scores, problem
):
    path = tmp_path / "scores.txt"
    write_scores(path, TRIALS, [0.1, 0.2])
    before = path.read_bytes()
    with pytest.raises(ValueError, match=problem):
        write_scores(path, trials, scores)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "utt_id"),
    [
        ("a/b/1.wav", "a/b/1"),
        ("a/b/1.FLAC", "a/b/1"),
        ("a/b/1.m4a", "a/b/1"),
        ("a/b.wav/1", "a/b.wav/1"),
        ("a/b/1.2", "a/b/1.2"),
        ("a/b/1.2.wav", "a/b/1.2"),
        ("a/wav", "a/wav"),
        ("wav", "wav"),
    ],
)
def test_the_audio_suffix_alone_is_stripped(name, utt_id):
    assert utterance_id(name) == utt_id
    assert speaker_id(name) == name.split("/")[0]
