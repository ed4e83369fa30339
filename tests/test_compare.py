"""The comparison of two systems, as it is typed."""

import json
import re
import sys

import compare
import numpy as np
import pytest
from command import run
from report import make_report

from custom_modules.scoring import Trials, read_scores, write_scores

FEW = ["--num_resamples=50", "--seed=3"]


@pytest.fixture
def systems(tmp_path):
    """Folders of a good and of a bad system on 400 trials of 10 speakers."""
    rng = np.random.default_rng(0)
    speakers = rng.integers(10, size=(2, 400))
    speakers[1, ::2] = speakers[0, ::2]
    enrol, test = (
        [f"id{speaker}/s/{trial}.wav" for trial, speaker in enumerate(side)]
        for side in speakers
    )
    trials = Trials(enrol, test, speakers[0] == speakers[1])
    noise = rng.normal(size=400)
    for name, mean in (("good", 3.0), ("bad", 1.0)):
        (tmp_path / name).mkdir()
        write_scores(
            tmp_path / name / "scores.txt",
            trials,
            noise + mean * trials.is_target,
        )
    return tmp_path / "good", tmp_path / "bad"


def compared(a, b, tmp_path, *arguments):
    """Numbers of `compare.py`."""
    output = tmp_path / "new" / "comparison.json"
    words = [str(a), str(b), f"--output={output}", *FEW, *arguments]
    compare.main(words)
    return json.loads(output.read_text())


def test_a_clear_difference_is_shown_and_written(systems, tmp_path, capsys):
    good, bad = systems
    result = compared(bad, good, tmp_path, "--p_target=0.05")
    for name in ("eer_percent", "min_dcf"):
        a, b = result[name]["a"][0], result[name]["b"][0]
        value, low, high = result[name]["difference"]
        assert value == pytest.approx(a - b, abs=2e-4)  # each is rounded
        assert 0 < low <= value <= high
        assert result[name]["p_value"] == pytest.approx(1 / 50)
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert lines[:2] == [f"A: {bad}", f"B: {good}"]
    eers = [result["eer_percent"][key] for key in ("a", "b", "difference")]
    cells = ["{:.2f} ({:.2f} to {:.2f})".format(*eer) for eer in eers]
    assert re.split("  +", lines[3]) == ["EER, %", *cells, "0.02"]
    assert lines[4].startswith("minDCF(0.05)")
    assert lines[5:] == [
        f"400 trials ({result['num_target_trials']} target) of 10 speakers, "
        "50 resamples of the speakers, seed 3"
    ]


def test_the_interval_of_a_system_is_that_of_its_report(systems, tmp_path):
    good, bad = systems
    trials, scores = read_scores(good / "scores.txt")
    report = make_report(trials, scores, 50, 3, {})
    result = compared(good, bad, tmp_path)["eer_percent"]
    assert result["a"] == [
        report["eer_percent"],
        *report["eer_interval_percent"],
    ]


def test_a_system_and_itself_are_equal(systems, tmp_path):
    good, _ = systems
    result = compared(good, good / "report.json", tmp_path)
    for name in ("eer_percent", "min_dcf"):
        assert result[name]["difference"] == [0.0, 0.0, 0.0]
        assert result[name]["p_value"] == 1.0


def test_the_order_of_the_trials_is_irrelevant(systems, tmp_path):
    good, bad = systems
    expected = compared(good, bad, tmp_path)
    path = bad / "scores.txt"
    lines = path.read_text().splitlines()
    order = np.random.default_rng(1).permutation(len(lines))
    path.write_text("\n".join(lines[i] for i in order))
    again = compared(good, path, tmp_path)
    assert again == {**expected, "b": str(path)}


def test_trial_lists_that_differ_are_refused(systems):
    good, bad = (folder / "scores.txt" for folder in systems)
    lines = bad.read_text().splitlines()
    label, *rest = lines[6].split()
    for changed, named in (
        ([*lines[:6], *lines[7:]], (good, bad, 7)),
        ([*lines, lines[2]], (bad, good, 401)),
        (
            [*lines[:6], " ".join([str(1 - int(label)), *rest]), *lines[7:]],
            (good, bad, 7),
        ),
    ):
        bad.write_text("\n".join(changed))
        first, second, number = named
        message = (
            f"^{first} and {second} are of different trials: '[01] id.*', "
            f"line {number} of the first, is not in the second"
        )
        with pytest.raises(ValueError, match=message) as caught:
            compare.main([str(good), str(bad), *FEW])
        assert "\n" not in str(caught.value)


def test_an_error_is_one_line(systems, tmp_path):
    good = str(systems[0])
    written = (systems[0] / "scores.txt").read_text().splitlines()
    broken = tmp_path / "scores.txt"
    for lines, message in (
        ([*written[:3], "1 a/1 a/2 nan"], r"txt:4: score 'nan' is not finite"),
        ([*written[:3], "1 a/1 a/2"], r"scores\.txt:4: 3 fields in"),
        (["1 a/1/1 a/1/2 0.5"], r"scores\.txt: all 1 labels are 1"),
    ):
        broken.write_text("\n".join(lines))
        with pytest.raises(ValueError, match=message) as caught:
            compare.main([good, str(broken)])
        assert "\n" not in str(caught.value)
    for arguments, message in (
        ([good], "required: B"),
        ([good, good, "--p_target=2"], r"p_target \(2\.0\) must lie"),
        ([good, good, "--num_resamples=0"], r"num_resamples \(0\)"),
        ([good, good, "--seed=x"], "invalid int value: 'x'"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            compare.main(arguments)
        assert "\n" not in str(caught.value)


def test_a_missing_file_ends_the_command_with_status_2(
    systems, monkeypatch, capsys
):
    words = ["compare.py", str(systems[0]), "none/report.json"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as caught:
        run(compare.main)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match("error: /.*/none/scores.txt is not a file", line)
