"""A table is run, goes on past a failure, and is not run twice."""

import csv
import json
from pathlib import Path

import pytest
import reproduce
from recipe_commands import HPARAMS, NARROW

TABLE = """
title: Three rows
hparams: hparams/mfcon.yaml
overrides: {mfcon_weight: 0, supcon_weight: 0}
rows:
    - label: too long
      overrides: {batch_size: 1000}
    - label: tuned
      tune: {supcon_weight: [0.1, 0.3]}
    - label: plain
"""


@pytest.fixture
def arguments(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hparams").symlink_to(HPARAMS)
    Path("table.yaml").write_text(TABLE)
    narrow = [word for word in NARROW if "num_epochs" not in word]
    return [
        "table.yaml",
        f"--data_folder={corpus}",
        f"--noise_folder={corpus}/noise",
        f"--rir_folder={corpus}/rir",
        "--num_epochs=1",
        "--num_resamples=20",
        *narrow,
    ]


def test_a_table_is_run_past_a_failure_and_only_what_is_missing(
    arguments, commands_in_process, capsys
):
    with pytest.raises(ValueError, match="1 of 3 rows failed: too long"):
        reproduce.main(arguments)
    table = Path("runs/tables/table")
    with open(table / "table.csv", newline="") as file:
        rows = {row["system"]: row for row in csv.DictReader(file)}
    assert "must be from 1 to the number" in rows["too long"]["error"]
    assert "batch_size (1000)" in (table / "table.md").read_text()
    reports = {
        path.stem: json.loads(path.read_text())
        for path in table.glob("reports/*.json")
    }
    assert len(reports) == 2
    for row in (rows["tuned"], rows["plain"]):
        assert float(row["eer_percent"]) == reports[row["run"]]["eer_percent"]
        assert row["error"] == ""
    printed = capsys.readouterr().out
    assert "[1/4] too long, seed 1986: runs/tables/mfcon-" in printed
    assert "[4/4, about 0 min left] plain, seed 1986" in printed
    assert "FAILED: batch_size (1000)" in printed
    calls = commands_in_process
    assert len(calls) == 7  # one fails, three are verified

    calls.clear()
    with pytest.raises(ValueError, match="tries these again"):
        reproduce.main(arguments)
    assert [script for script, _ in calls] == ["train_speaker_embeddings.py"]
    assert "plain, seed 1986: finished before" in capsys.readouterr().out

    calls.clear()
    reproduce.main([*arguments, "--rows=plain", "--num_resamples=30"])
    assert [script for script, _ in calls] == ["verify.py"]


def test_tuning_takes_the_lowest_development_error(
    arguments, commands_in_process
):
    reproduce.main([*arguments, "--rows=tuned", "--seeds=1,2"])
    folders = sorted(Path("runs/tables").glob("mfcon-*-1"))
    trained = [
        json.loads((folder / "model/training.json").read_text())
        for folder in folders
    ]
    best = min(
        trained,
        key=lambda t: (t["dev_eer"], "supcon_weight: 0.3" in t["overrides"]),
    )
    weight = "0.3" if "supcon_weight: 0.3" in best["overrides"] else "0.1"
    with open("runs/tables/table/table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["1", "2"]
    for row in rows:
        assert f"--supcon_weight={weight}" in row["overrides"]
    assert len(folders) == 2
    assert len(list(Path("runs/tables").glob("mfcon-*-2"))) == 1


def test_tuning_needs_development_speakers(arguments, commands_in_process):
    words = [word for word in arguments if "num_dev_speakers" not in word]
    with pytest.raises(ValueError, match="1 of 1 rows failed: tuned"):
        reproduce.main([*words, "--rows=tuned", "--num_dev_speakers=0"])
    text = Path("runs/tables/table/table.md").read_text()
    assert "tune needs development speakers" in text


def test_a_report_of_other_trials_is_refused_before_any_training(
    arguments, commands_in_process, verified
):
    other = json.loads((verified / "report.json").read_text())
    other["trials_sha256"] = "e" * 64
    Path("other.json").write_text(json.dumps(other))
    Path("table.yaml").write_text(
        "title: T\nhparams: hparams/mfcon.yaml\nrows:\n"
        "  - {label: here}\n  - {label: mine, report: other.json}\n"
    )
    with pytest.raises(ValueError, match=r"different trial lists.*'mine': eee"):
        reproduce.main(arguments)
    assert commands_in_process == []
    Path("other.json").write_bytes((verified / "report.json").read_bytes())
    reproduce.main(arguments)
    with open("runs/tables/table/table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["system"] for row in rows] == ["here", "mine"]
    assert rows[0]["trials_sha256"] == rows[1]["trials_sha256"]


@pytest.mark.long
def test_rows_run_in_processes_of_their_own(arguments, capfd):
    """A failure is reported with its last words; torchrun is used."""
    words = [*arguments, "--rows=plain; too long", "--noprogressbar"]
    with pytest.raises(ValueError, match="1 of 2 rows failed: too long"):
        reproduce.main(words)
    text = Path("runs/tables/table/table.md").read_text()
    assert "too long failed: train_speaker_embeddings.py: batch_size" in text
    (console,) = (
        path
        for path in Path("runs/tables").glob("mfcon-*/console.txt")
        if "EER" in path.read_text()
    )
    (console.parent / "model/training.json").unlink()
    (console.parent / "verification/report.json").unlink()
    reproduce.main([*words, "--rows=plain"])  # goes on from the checkpoint
    log = (console.parent / "train_log.txt").read_text()
    assert len(log.splitlines()) == 1
    with pytest.raises(ValueError, match="1 of 1 rows failed"):
        reproduce.main([*words, "--rows=plain", "--seeds=5", "--num_gpus=2"])
    text = Path("runs/tables/table/table.md").read_text()
    assert "one process" in text
