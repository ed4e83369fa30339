"""A report is JSON, whatever the scores."""

import json
from functools import partial

import numpy as np
import pytest
from report import make_report, summarise, write_json

from custom_modules.metrics import (
    equal_error_rate,
    min_dcf,
    speaker_bootstrap,
)
from custom_modules.scoring import Trials


def test_a_threshold_that_rejects_everything_is_null(tmp_path):
    """Two impostors score highest: no false alarm is worth its cost."""
    names = ["a/s/1", "a/s/2", "b/s/1", "b/s/2"]
    trials = Trials(
        [names[0], names[2], names[0], names[1]],
        [names[1], names[3], names[2], names[3]],
        np.array([True, True, False, False]),
    )
    scores = np.array([0.1, 0.2, 0.8, 0.9])
    report = make_report(trials, scores, 10, 0, {})
    write_json(tmp_path / "report.json", report)
    read = json.loads((tmp_path / "report.json").read_text())
    assert read["min_dcf_0.01"] == 1.0
    assert read["min_dcf_0.01_threshold"] is None
    assert read["eer_percent"] == 100.0


def test_the_intervals_are_those_of_the_bootstrap():
    """Of EER and both costs, rounded; the summary shows the first two."""
    generator = np.random.default_rng(0)
    sides = generator.integers(8, size=(2, 500))
    sides[1, ::2] = sides[0, ::2]
    names = [
        [f"id{speaker}/s/{trial}" for trial, speaker in enumerate(side)]
        for side in sides
    ]
    is_target = sides[0] == sides[1]
    scores = generator.normal(size=500) + 2 * is_target
    report = make_report(
        Trials(*names, is_target),
        scores,
        30,
        1,
        {"num_utterances": 1000, "trials": "t", "num_speakers_trained_on": 0},
    )
    for key, metric, scale in (
        ("eer_interval_percent", equal_error_rate, 100),
        ("min_dcf_0.01_interval", partial(min_dcf, p_target=0.01), 1),
        ("min_dcf_0.001_interval", partial(min_dcf, p_target=0.001), 1),
    ):
        interval = speaker_bootstrap(scores, is_target, *sides, metric, 30, 1)
        expected = [scale * end for end in interval]
        assert report[key] == pytest.approx(expected, abs=6e-5)
    low, high = report["min_dcf_0.01_interval"]
    assert f" ({low:.3f} to {high:.3f}), minDCF(0.001)" in summarise(report)
