"""The demo, whole: minutes on 2 cores."""

import json
import re
from pathlib import Path

import demo
import pytest

ROOT = Path(__file__).parents[1]
EXPERIMENT = ROOT / "recipes/VoxCeleb1/experiments/demo.yaml"


@pytest.mark.long
def test_the_demo_beats_the_baseline_by_more_than_the_intervals(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hparams").symlink_to(ROOT / "hparams")
    demo.main([str(EXPERIMENT)])
    reports = [
        json.loads((tmp_path / "runs/demo" / name / "report.json").read_text())
        for name in ("baseline", "verification")
    ]
    baseline, trained = (r["eer_interval_percent"] for r in reports)
    assert trained[1] < baseline[0]
    printed = capfd.readouterr().out
    assert re.search(r"Aim: half of the baseline's EER", printed)
    assert "hparams/mfcon.yaml" in printed


def test_the_table_says_whether_the_aim_was_reached():
    def report(eer):
        return {
            "eer_percent": eer,
            "eer_interval_percent": [eer - 1, eer + 1],
            "min_dcf_0.01": 0.9,
        }

    assert "Reached: 40 %" in demo.summarise(report(30.0), report(12.0), 5.0)
    text = demo.summarise(report(30.0), report(18.0), 5.0)
    assert "Not reached: 60 %" in text
