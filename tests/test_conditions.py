"""The table of conditions: its numbers are those of its reports."""

import csv
import json
import re

import conditions
import numpy as np
import pytest
from compare import main as compare
from condition_table import read_conditions
from recipe_commands import BASELINE, HPARAMS, RECIPE

FEW = ["--num_workers=0", "--num_resamples=20", "--batch_seconds=4"]
ROWS = """
title: Short and noisy
rows:
    - label: As recorded
    - label: First 0.4 s
      overrides: {max_seconds: 0.4}
    - label: Noise at 0 dB
      overrides: {test_snr: 0}
"""


def arguments(corpus, folder, *more):
    return [
        str(HPARAMS / "verify.yaml"),
        f"--data_folder={corpus}",
        f"--model_folder={HPARAMS / 'models'}",
        f"--output_folder={folder / 'out'}",
        f"--conditions={folder / 'conditions.yaml'}",
        *BASELINE,
        *FEW,
        *more,
    ]


@pytest.fixture
def rows(tmp_path):
    (tmp_path / "conditions.yaml").write_text(ROWS)
    return tmp_path


def test_the_table_is_that_of_reports_and_comparisons(corpus, rows, capsys):
    conditions.main(
        arguments(corpus, rows, f"--test_noise_folder={corpus}/noise")
    )
    output = rows / "out"
    shown = (output / "conditions.md").read_text()
    assert shown in capsys.readouterr().out
    with open(output / "conditions.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    done = ["as recorded", "first 0.4 s", "noise at 0 dB"]
    assert [line["done"] for line in lines] == done
    for line in lines:
        folder = output / line["folder"]
        report = json.loads((folder / "report.json").read_text())
        assert report["condition"] == line["done"]
        compare(
            [
                *(str(folder), str(output / lines[0]["folder"])),
                *("--num_resamples=20", f"--output={rows / 'compared.json'}"),
            ]
        )
        compared = json.loads((rows / "compared.json").read_text())
        for name, key in (("eer_percent", "eer_percent"), ("min_dcf",) * 2):
            name = {"min_dcf": "min_dcf_0.01"}.get(name, name)
            for part, end in (("a", ""), ("difference", "_change")):
                numbers = [
                    float(line[f"{name}{end}{suffix}"])
                    for suffix in ("", "_low", "_high")
                ]
                assert numbers == pytest.approx(compared[key][part], abs=1e-4)
            p_value = float(line[f"{name}_p"])
            assert p_value == pytest.approx(compared[key]["p_value"], abs=1e-4)
        value = float(line["eer_percent"])
        assert value == report["eer_percent"]
        row = re.search(rf"^\| {line['condition']} \| (\S+) \(", shown, re.M)
        assert float(row[1]) == pytest.approx(value, abs=0.005)
    changes = [float(line["eer_percent_change"]) for line in lines]
    assert changes[0] == 0.0
    assert np.all(np.array(changes[1:]) != 0.0)


def test_without_noise_the_noisy_rows_are_left_out(corpus, rows):
    conditions.main(arguments(corpus, rows))
    shown = (rows / "out" / "conditions.md").read_text()
    assert "| Noise at 0 dB" not in shown
    assert "Left out for want of --test_noise_folder: Noise at 0 dB." in shown
    assert not (rows / "out" / "noise_at_0_db").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("max_seconds: 0.4", "max_seconds: -1"), r"row 'First 0.4 s': max_se"),
        (("max_seconds: 0.4", "max_secs: 1"), r"row 'First 0.4 s': .*max_secs"),
        (
            ("label: First 0.4 s", "label: As recorded"),
            "names no folder of its",
        ),
        (("label: First 0.4 s", "name: x"), "row 2 has no label"),
        (("overrides: {max", "override: {max"), "row 2: override is unknown"),
        (("{max_seconds: 0.4}", "[2]"), "row 2: overrides must be keys"),
        (("title: Short and noisy", ""), "write a title, and rows as a list"),
    ],
)
def test_every_row_is_checked_before_the_first_runs(
    corpus, rows, changed, message
):
    path = rows / "conditions.yaml"
    path.write_text(ROWS.replace(*changed))
    with pytest.raises(ValueError, match=message) as caught:
        conditions.main(arguments(corpus, rows))
    assert str(path) in str(caught.value)
    assert not (rows / "out").exists()


def test_the_committed_conditions_are_those_of_the_issue():
    """As recorded, 5 and 2 s, noise from 20 to 0 dB."""
    _, found = read_conditions(RECIPE / "experiments" / "conditions.yaml")
    overrides = [condition.overrides for condition in found]
    assert overrides[0] == {}
    assert {"max_seconds": 5} in overrides
    assert {"max_seconds": 2} in overrides
    snrs = [x["test_snr"] for x in overrides if "test_snr" in x]
    assert (max(snrs), min(snrs)) == (20, 0)


def test_the_committed_ways_of_scoring_are_verified(
    corpus, trained, tmp_path, caplog
):
    """On a cohort of fewer than 300."""
    text = (RECIPE / "experiments" / "backends.yaml").read_text()
    assert text.count("top_k: 300") == 1
    caplog.set_level("INFO")
    path = tmp_path / "backends.yaml"
    path.write_text(text.replace("top_k: 300", "top_k: 5"))
    conditions.main(
        [
            str(HPARAMS / "verify.yaml"),
            f"--data_folder={corpus}",
            f"--model_folder={trained / 'model'}",
            f"--output_folder={tmp_path / 'out'}",
            f"--conditions={path}",
            "--page=False",
            "--block_rates=False",
            *FEW,
        ]
    )
    with open(tmp_path / "out" / "conditions.csv", newline="") as file:
        rows = {row["condition"]: row for row in csv.DictReader(file)}
    assert len(rows) == 8
    reports = {
        name: json.loads(
            (tmp_path / "out" / row["folder"] / "report.json").read_text()
        )
        for name, row in rows.items()
    }
    assert reports["Cosine, centred"]["scoring"] == "cosine, centred"
    assert reports["PLDA, s-norm"]["scoring"].startswith("PLDA")
    assert (
        "top 5"
        in (reports["Cosine, adaptive s-norm, top 300"]["score_normalisation"])
    )
    weights = reports["Cosine, calibrated with duration, norm and SNR"]
    assert len(weights["calibration"]["weights"]) == 4
    assert list((tmp_path / "out" / "embeddings").iterdir())
    found = [x.split(" of ") for x in caplog.messages if " are in " in x]
    new = [int(x[1].split()[0]) - int(x[0]) for x in found]
    assert new[0] > 0
    # The trials' once, the training's once, the development's once.
    assert sum(count > 0 for count in new) == 3


RESULTS = RECIPE.parents[1] / "results" / "conditions"


@pytest.mark.parametrize(
    "results", sorted(RESULTS.iterdir()), ids=lambda path: path.name
)
def test_the_table_in_the_readme_is_that_of_the_files(results):
    """Every row, and the reports of which it is made."""
    table = (results / "conditions.md").read_text()
    readme = (RECIPE / "README.md").read_text()
    lines = [line for line in table.splitlines() if line.startswith("|")]
    with open(results / "conditions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    of_rows = {"voxocean": "conditions", "voxocean_backends": "backends"}
    path = RECIPE / "experiments" / f"{of_rows[results.name]}.yaml"
    labels = [condition.label for condition in read_conditions(path)[1]]
    assert [row["condition"] for row in rows] == labels
    assert len(lines) == len(rows) + 2
    for line in lines:
        assert line in readme
    for line, row in zip(lines[2:], rows, strict=True):
        path = results / "reports" / f"{row['folder']}.json"
        report = json.loads(path.read_text())
        assert report["condition"] == row["done"]
        assert float(row["eer_percent"]) == report["eer_percent"]
        eer = report["eer_percent"], *report["eer_interval_percent"]
        cost = report["min_dcf_0.01"], *report["min_dcf_0.01_interval"]
        cells = line.split("|")[2:4]
        for cell, numbers, rounding in zip(
            cells, (eer, cost), (0.006, 0.0006), strict=True
        ):
            shown = [float(x) for x in re.findall(r"[\d.]+", cell)]
            assert shown == pytest.approx(numbers, abs=rounding)
        assert report["commit"] == row["commit"]
        assert "dirty" not in report["commit"]
        assert not re.search(r'"/', path.read_text())  # no path of a machine


def test_what_calibration_did_is_told_from_the_reports():
    folder = RESULTS / "voxocean_backends" / "reports"
    text = " ".join((RECIPE / "README.md").read_text().split())
    plain, quality = (
        json.loads((folder / f"{name}.json").read_text())["calibration"]
        for name in (
            "cosine_calibrated",
            "cosine_calibrated_with_duration_norm_and_snr",
        )
    )
    assert (
        f"on {plain['num_trials']:,} development trials of 16 speakers took "
        f"Cllr from {plain['cllr']['before']:.3f} to "
        f"{plain['cllr']['after']:.3f}, with quality to "
        f"{quality['cllr']['after']:.3f}, and the actual DCF(0.01) from "
        f"{plain['actual_dcf_0.01']['before']:.3f} to "
        f"{plain['actual_dcf_0.01']['after']:.3f} and "
        f"{quality['actual_dcf_0.01']['after']:.3f}"
    ) in text
