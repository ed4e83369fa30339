"""The simulation of coverage: its worlds are what they are said to be."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks import coverage
from benchmarks.coverage import KINDS, make_table, speaker_world, true_rates
from custom_modules.metrics import equal_error_rate, min_dcf

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results" / "coverage"
FILES = sorted(RESULTS.glob("*.json"))
LEAST = 0.88  # what issue and README say


@pytest.mark.parametrize("name", KINDS)
def test_the_truth_is_that_of_many_speakers(name):
    mean, effects = KINDS[name]
    scores, is_target, *_ = speaker_world(0, (mean,), effects, 2000, 400_000)
    truth = true_rates(mean, effects)
    eer, _ = equal_error_rate(scores, is_target)
    cost, _ = min_dcf(scores, is_target, 0.05)
    assert eer == pytest.approx(truth["EER"], rel=0.05)
    assert cost == pytest.approx(truth["minDCF(0.05)"], rel=0.05)


def test_the_share_of_the_speakers_is_that_of_the_scores():
    """Of the variance of the means of pairs, each with many trials."""
    for mean, effects in KINDS.values():
        scores, is_target, *sides = speaker_world(
            1, (mean,), effects, 300, 400_000
        )
        shown = np.var(scores[~is_target])
        assert 1 / shown == pytest.approx(1 - effects.share, rel=0.1)
        assert len(sides) == 2


def test_a_short_simulation_writes_results_and_table(tmp_path, capsys):
    coverage.main(
        [
            *(f"--output={tmp_path}", "--num_worlds=2", "--num_resamples=10"),
            *("--num_trials=400", "--num_speakers=10"),
        ]
    )
    content = json.loads((tmp_path / "400.json").read_text())
    assert list(content["kinds"]) == list(KINDS)
    for found in content["kinds"].values():
        for one in found["metrics"].values():
            parts = one["covered"], one["too_low"], one["too_high"]
            assert sum(parts) == pytest.approx(1)
    table = (tmp_path / "table.md").read_text()
    assert capsys.readouterr().out == table
    assert len(re.findall(r"^\| 400 \|", table, re.M)) == 12


def test_no_worlds_are_refused():
    with pytest.raises(ValueError, match=r"num_worlds \(0\)"):
        coverage.main(["--num_worlds=0"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_coverage_in_the_readme_is_that_of_the_files(path):
    """Of every kind and metric; at a commit, on a machine; all above 88 %."""
    content = json.loads(path.read_text())
    readme = (ROOT / "README.md").read_text()
    assert content["machine"]
    assert "dirty" not in content["commit"]
    assert list(content["kinds"]) == list(KINDS)
    trials = content["settings"]["num_trials"]
    assert f"{content['settings']['num_worlds']} " in readme
    for kind, found in content["kinds"].items():
        cells = [f"{trials:,}", f"{kind}, {found['share_of_speakers']:.0%}"]
        for one in found["metrics"].values():
            assert one["covered"] >= LEAST
            percent = 100 * one["covered"], 100 * one["standard_error"]
            cells.append("{:.1f} ± {:.1f}".format(*percent))
        assert f"| {' | '.join(cells)} |" in readme


def test_the_table_of_coverage_is_that_of_the_files():
    assert len(FILES) == 2
    assert (RESULTS / "table.md").read_text() == make_table(RESULTS)
    wide = json.loads((RESULTS / "6000.json").read_text())
    one = wide["kinds"]["strong"]["metrics"]["minDCF(0.01)"]
    shown = (
        f"from {one['median_low']:.2f} to {one['median_high']:.2f} about\n"
        f"a true {one['truth']:.2f} "
    )
    assert shown in (ROOT / "README.md").read_text()
