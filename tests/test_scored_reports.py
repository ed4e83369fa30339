"""Reports with the scores beside them."""

import json
import shutil

import pytest
from scored_reports import choose_labels, read_json, read_system

from custom_modules.scoring import read_scores, write_scores


def test_scores_and_report_are_read(verified):
    report, system = read_system(str(verified / "report.json"), "MFCon")
    assert report["num_trials"] == len(system.scores)
    assert list(system.eer_interval) == report["eer_interval_percent"]
    assert system.label == "MFCon"


def test_scores_of_another_verification_are_refused(verified, tmp_path):
    shutil.copytree(verified, tmp_path, dirs_exist_ok=True)
    trials, scores = read_scores(tmp_path / "scores.txt")
    write_scores(tmp_path / "scores.txt", trials, -scores)
    with pytest.raises(ValueError, match=r"scores\.txt: its EER is .*anew"):
        read_system(str(tmp_path / "report.json"), "")


def test_missing_files_are_named(verified, tmp_path):
    with pytest.raises(ValueError, match=r"none/report\.json: there is no"):
        read_system(str(tmp_path / "none" / "report.json"), "")
    shutil.copy(verified / "report.json", tmp_path)
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}/scores.txt"):
        read_system(str(tmp_path / "report.json"), "")


def test_other_json_is_no_report(tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"trials": "list.txt"}))
    with pytest.raises(ValueError, match="it has no eer_interval_percent"):
        read_system(str(path), "")
    path.write_text("{")
    with pytest.raises(ValueError, match=r"report\.json: not valid JSON"):
        read_json(path, "verify.py")


def test_one_label_for_each_system(tmp_path):
    with pytest.raises(ValueError, match="2 different labels for 1 systems"):
        choose_labels("a,b", [tmp_path])
    for labels in ("a,a", None):  # one would replace the other
        with pytest.raises(ValueError, match="1 different labels for 2"):
            choose_labels(labels, [tmp_path, tmp_path])
    assert choose_labels(None, [tmp_path]) == [tmp_path.name]
