"""A table is run, goes on past a failure, and is not run twice."""

import csv
import json
import re
from pathlib import Path

import pytest
import reproduce
from recipe_commands import HPARAMS, NARROW

TABLE = """
title: Two rows
hparams: hparams/mfcon.yaml
overrides: {mfcon_weight: 0, supcon_weight: 0}
seeds: [1, 2]
rows:
    - label: too long
      overrides: {batch_size: 1000}
    - label: tuned
      tune: {supcon_weight: [0.1, 0.3]}
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
    calls = commands_in_process
    with pytest.raises(ValueError, match="1 of 2 rows failed: too long"):
        reproduce.main(arguments)
    table = Path("runs/tables/table")
    with open(table / "table.csv", newline="") as file:
        failed, *rows = csv.DictReader(file)
    assert "must be from 1 to the number" in failed["error"]
    assert "batch_size (1000)" in (table / "table.md").read_text()
    reports = {
        path.stem: json.loads(path.read_text())
        for path in table.glob("reports/*.json")
    }
    assert [row["seed"] for row in rows] == ["1", "2"]
    assert {row["run"] for row in rows} == set(reports)
    for row in rows:
        assert float(row["eer_percent"]) == reports[row["run"]]["eer_percent"]
        assert row["error"] == ""
    printed = capsys.readouterr().out
    assert "[1/5] too long, seed 1: runs/tables/mfcon-" in printed
    assert re.search(r"\[5/5, about \d+ min left\] tuned .*, seed 2", printed)
    assert "FAILED: batch_size (1000)" in printed
    assert len(calls) == 7  # one fails, three are trained and verified

    # The candidate with the lowest development error was taken.
    trained = {
        folder.name: json.loads((folder / "model/training.json").read_text())
        for folder in Path("runs/tables").glob("mfcon-*-1")
        if (folder / "model").exists()
    }
    assert len(trained) == 2
    errors = {name: one["dev_eer"] for name, one in trained.items()}
    assert errors[rows[0]["run"]] == min(errors.values())
    assert rows[0]["overrides"] == rows[1]["overrides"]

    calls.clear()
    with pytest.raises(ValueError, match="tries these again"):
        reproduce.main(arguments)
    assert [script for script, _ in calls] == ["train_speaker_embeddings.py"]
    printed = capsys.readouterr().out
    assert re.search(r"tuned .*, seed 2: finished before", printed)

    calls.clear()
    again = [*arguments, "--rows=tuned", "--seeds=1", "--num_resamples=30"]
    reproduce.main(again)
    assert [script for script, _ in calls] == ["verify.py", "verify.py"]


def test_tuning_without_development_speakers_is_refused_before_any_training(
    arguments, commands_in_process
):
    words = [word for word in arguments if "num_dev_speakers" not in word]
    with pytest.raises(ValueError, match="row 'tuned': tune chooses on devel"):
        reproduce.main([*words, "--num_dev_speakers=0"])
    assert commands_in_process == []


def test_a_report_of_other_trials_is_refused_before_any_training(
    arguments, commands_in_process, verified
):
    other = json.loads((verified / "report.json").read_text())
    other["trials_sha256"] = "e" * 64
    Path("other.json").write_text(json.dumps(other))
    row = "  - {label: mine, report: other.json}\n"
    head = "title: T\nhparams: hparams/mfcon.yaml\nrows:\n"
    Path("table.yaml").write_text(f"{head}  - {{label: here}}\n{row}")
    with pytest.raises(ValueError, match=r"different trial lists.*'mine': eee"):
        reproduce.main(arguments)
    assert commands_in_process == []
    Path("table.yaml").write_text(head + row)
    reproduce.main(["table.yaml"])
    with open("runs/tables/table/table.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["trials_sha256"] == "e" * 64


STARTS = """
title: One from the other
hparams: hparams/mfcon.yaml
overrides: {mfcon_weight: 0, supcon_weight: 0}
rows:
    - label: base
      overrides: {num_epochs: 2}
    - label: raised
      init_from: base
      overrides: {margin: 0.4}
    - label: mean
      init_from: base
      script: average_checkpoints.py
      hparams: hparams/average.yaml
      overrides: {num_averaged: 2}
"""


def test_rows_that_start_from_another_follow_it(
    arguments, commands_in_process, capsys
):
    Path("table.yaml").write_text(STARTS)
    reproduce.main([*arguments, "--rows=mean; raised"])
    scripts = [script.partition("_")[0] for script, _ in commands_in_process]
    verified = "verify.py"
    assert scripts == ["train", verified] * 2 + ["average", verified]
    with open("runs/tables/table/table.csv", newline="") as file:
        base, raised, mean = csv.DictReader(file)
    folder = Path("runs/tables")
    _, raised, mean = (
        json.loads((folder / row["run"] / "model/training.json").read_text())
        for row in (base, raised, mean)
    )
    assert raised["init_from"]["epoch"] in (1, 2)
    assert mean["averaged_epochs"] == [1, 2]
    assert "from “base” |" in Path("runs/tables/table/table.md").read_text()


@pytest.mark.long
def test_rows_run_in_processes_of_their_own(arguments, capfd):
    """A failure is reported with its last words; torchrun is used."""
    words = [
        *arguments,
        "--rows=tuned; too long",
        "--seeds=1",
        "--noprogressbar",
    ]
    with pytest.raises(ValueError, match="1 of 2 rows failed: too long"):
        reproduce.main(words)
    text = Path("runs/tables/table/table.md").read_text()
    assert "too long failed: train_speaker_embeddings.py: batch_size" in text
    console = next(
        path
        for path in Path("runs/tables").glob("mfcon-*/console.txt")
        if "EER" in path.read_text()
    )
    (console.parent / "model/training.json").unlink()
    (console.parent / "verification/report.json").unlink()
    reproduce.main([*words, "--rows=tuned"])  # goes on from the checkpoint
    log = (console.parent / "train_log.txt").read_text()
    assert len(log.splitlines()) == 1
    reproduce.main([*words, "--rows=tuned", "--seeds=5", "--num_gpus=2"])
    consoles = Path("runs/tables").glob("mfcon-*/console.txt")
    assert any("shared by 2 processes" in path.read_text() for path in consoles)
