"""CSV and Markdown say what the reports say."""

import csv
import json

import pytest
from experiment_table import Row, Table
from table_report import Result, markdown, read_report, write_csv


def report(eer, **other):
    return {
        "eer_percent": eer,
        "eer_interval_percent": [eer - 1, eer + 2],
        "min_dcf_0.01": eer / 10,
        "min_dcf_0.001": eer / 9,
        "num_trials": 100,
        "num_speakers": 8,
        "num_speakers_trained_on": 0,
        "trials": "veri_test2.txt",
        "trials_sha256": "f" * 64,
        "machine": "a computer",
        "commit": "c0ffee",
        "training": {
            "dev_eer": 0.0625,
            "epoch": 3,
            "minutes": 1.5,
            "machine": "another computer",
            "commit": "c0de",
        },
        **other,
    }


def result(label, reports, error="", note="", **row):
    overrides = {"margin": 0.1}
    row = Row(label, "train", "h.yaml", [overrides], None, row.get("paper", {}))
    folders = {seed: f"h-{seed}" for seed in reports}
    return Result(row, overrides, reports, folders, error, note)


RESULTS = [
    result(
        "two seeds",
        {1: report(4.0), 2: report(5.0)},
        paper={"eer_percent": 2.25, "min_dcf": 0.21},
        note="chosen by something",
    ),
    result("failed", {}, error="train: no memory"),
    result("later", {}),
]
TABLE = Table("t", "A title", "arXiv", "A claim.", None, {}, [1, 2], [])


def test_markdown_has_mean_deviation_interval_and_the_paper_s_figures():
    lines = markdown(TABLE, RESULTS, "--lr=1").splitlines()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("| ")
    ]
    assert rows[1] == [
        "two seeds",
        "4.50 ± 0.71",
        "3.50 to 6.50",
        "0.450 ± 0.071",
        "2.25",
        "0.21",
        "1, 2",
        "`h.yaml` `--margin=0.1`",
    ]
    assert rows[2][:3] == ["failed", "failed", ""]
    assert rows[3][:3] == ["later", "not run", ""]
    assert rows[3][4:6] == ["not known", "not known"]
    text = "\n".join(lines)
    for expected in (
        "# A title",
        "A claim.",
        "veri_test2.txt (sha256 ffffffffffff), 100, of 8 speakers",
        "All rows: `--lr=1`.",
        "Machine: a computer, another computer.",
        "Commit: c0de, c0ffee.",
        "two seeds: chosen by something.",
        "failed failed: train: no memory",
    ):
        assert expected in text


def test_csv_has_a_line_for_each_run(tmp_path):
    write_csv(tmp_path / "t.csv", RESULTS)
    with open(tmp_path / "t.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["system"] for row in rows] == [
        "two seeds",
        "two seeds",
        "failed",
        "later",
    ]
    assert [row["seed"] for row in rows] == ["1", "2", "", ""]
    first = rows[0]
    assert float(first["eer_percent"]) == 4.0
    assert float(first["eer_high_percent"]) == 6.0
    assert float(first["paper_eer_percent"]) == 2.25
    assert float(first["dev_eer_percent"]) == 6.25
    assert first["overrides"] == "--margin=0.1"
    assert first["run"] == "h-1"
    assert [row["error"] for row in rows[2:]] == ["train: no memory", "not run"]


def test_a_row_of_speakers_that_were_trained_on_says_so():
    unfair = result("mine", {1: report(1.0, num_speakers_trained_on=7)})
    text = markdown(TABLE, [*RESULTS, unfair], "")
    assert "mine: NOT A FAIR TEST, 7 of its speakers were trained on." in text
    assert "FAIR" not in markdown(TABLE, RESULTS, "")


def test_a_missing_or_wrong_report_is_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"none\.json: there is no such report"
    ):
        read_report(tmp_path / "none.json")
    path = tmp_path / "report.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"report\.json: damaged"):
        read_report(path)
    path.write_text(json.dumps({"eer_percent": 1.0}))
    with pytest.raises(ValueError, match="eer_interval_percent is missing"):
        read_report(path)
