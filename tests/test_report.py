"""A report is JSON, whatever the scores."""

import json

import numpy as np
from report import make_report, write_json

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
