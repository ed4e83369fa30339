"""What the commands that verify share."""

import json
import re

import numpy as np
import pytest
from evaluation import (
    locate_utterances,
    make_loader,
    measure_durations,
    refuse_overlap,
    trial_origin,
    trial_speakers,
    write_report,
)
from report import make_report

from custom_modules.scoring import Trials, read_scores

TRIALS = Trials(
    ["b/s/1.wav", "b/s/1.wav", "a/s/1.wav"],
    ["b/s/2.wav", "a/s/1.wav", "c/s/1.wav"],
    np.array([True, False, False]),
)
UTT_IDS = ["a/s/1", "b/s/1", "b/s/2", "c/s/1"]
# FIPS 180-2, appendix B.1: the digest of "abc".
SHA256_OF_ABC = (
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
)


@pytest.fixture
def found(tmp_path):
    """File of each utterance of a data folder, some of it not in trials."""
    return {
        utt_id: tmp_path / f"{utt_id}.flac" for utt_id in ["z/s/1", *UTT_IDS]
    }


@pytest.fixture
def trial_list(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes(b"abc")
    return path


def test_speakers_of_both_sides_are_named():
    assert trial_speakers(TRIALS) == {"a", "b", "c"}


def test_only_the_utterances_of_the_trials_are_located(trial_list, found):
    utterances = locate_utterances(TRIALS, trial_list, found)
    assert utterances == {utt_id: found[utt_id] for utt_id in UTT_IDS}


@pytest.mark.parametrize(
    ("missing", "line", "named"),
    [
        (["c/s/1"], 3, "c/s/1"),
        (["c/s/1", "a/s/1"], 2, "a/s/1"),
        (["b/s/2", "b/s/1"], 1, "b/s/1"),
    ],
)
def test_a_missing_utterance_is_named_with_list_and_line(
    trial_list, found, missing, line, named
):
    for utt_id in missing:
        del found[utt_id]
    message = (
        f"{trial_list}:{line}: there is no file of {named} "
        f"({len(missing)} of 4 utterances are missing)"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        locate_utterances(TRIALS, trial_list, found)


@pytest.mark.parametrize(
    ("overlap", "named"),
    [
        ({"b"}, "1 of its speakers were trained on (b), so"),
        (set("bdaec"), "5 of its speakers were trained on (a, b, c, d, e), so"),
        (set("bdafec"), "6 of its speakers were trained on (a, b, c, d, e, …)"),
    ],
)
def test_overlap_is_refused_where_it_is_not_allowed(trial_list, overlap, named):
    message = re.escape(f"{trial_list}: {named}") + ".*--allow_overlap=True"
    with pytest.raises(ValueError, match=message):
        refuse_overlap(overlap, trial_list, is_allowed=False)
    refuse_overlap(overlap, trial_list, is_allowed=True)


def test_durations_are_in_seconds_at_any_rate(write_wav):
    utterances = {
        f"{rate}": write_wav(f"{rate}.wav", seconds=seconds, rate=rate)[0]
        for rate, seconds in ((16000, 1.5), (48000, 0.5))
    }
    durations = measure_durations(utterances, 16000, "files")
    assert durations == {"16000": 1.5, "48000": 0.5}


def test_files_that_cannot_be_used_are_named(tmp_path, write_wav):
    (tmp_path / "a.wav").write_bytes(b"no audio")
    utterances = {"a": tmp_path / "a.wav", "b": write_wav("b.wav")[0]}
    message = r"^1 files of mine\.txt cannot be used.*\n.*a\.wav"
    with pytest.raises(ValueError, match=message):
        make_loader(utterances, "files of mine.txt", 16000, 4.0, 0)


def test_the_loader_gives_every_utterance_once(write_wav):
    samples = {}
    utterances = {}
    for seed, seconds in enumerate((0.3, 0.7, 0.5)):
        path, written = write_wav(f"{seed}.wav", seconds=seconds, seed=seed)
        utterances[str(seed)] = path
        samples[str(seed)] = written[:, 0]
    loader = make_loader(utterances, "files", 16000, 1.2, 0)
    batches = [list(batch.id) for batch in loader]
    assert batches == [["1"], ["2", "0"]]
    for batch in loader:
        wavs, lens = batch.sig
        for utt_id, wav, length in zip(batch.id, wavs, lens, strict=True):
            num_samples = round(length.item() * len(wav))
            np.testing.assert_array_equal(wav[:num_samples], samples[utt_id])


def test_the_origin_has_the_lists_name_and_digest(trial_list):
    origin = trial_origin(trial_list, 4, "cpu")
    assert origin["trials"] == "mine.txt"
    assert origin["trials_sha256"] == SHA256_OF_ABC
    assert origin["num_utterances"] == 4


@pytest.mark.parametrize("num_speakers_trained_on", [0, 2])
def test_scores_report_and_summary_are_written(
    tmp_path, trial_list, capsys, num_speakers_trained_on
):
    """Into a folder that is made; the report is what was given."""
    scores = np.array([0.75, -0.5, 0.25])
    origin = {
        **trial_origin(trial_list, 4, "cpu"),
        "num_speakers_trained_on": num_speakers_trained_on,
    }
    report = make_report(TRIALS, scores, 5, 0, origin)
    output_folder = tmp_path / "runs" / "verification"
    write_report(output_folder, TRIALS, scores, report)
    trials, read = read_scores(output_folder / "scores.txt")
    assert (trials.enrol, trials.test) == (TRIALS.enrol, TRIALS.test)
    np.testing.assert_array_equal(trials.is_target, TRIALS.is_target)
    np.testing.assert_array_equal(read, scores)
    assert json.loads((output_folder / "report.json").read_text()) == report
    shown = capsys.readouterr().out
    assert "3 trials (1 target) of 4 utterances, mine.txt\n" in shown
    assert shown.endswith(f"scores.txt, report.json: {output_folder}\n")
    assert ("NOT A FAIR TEST" in shown) == (num_speakers_trained_on > 0)
