"""Tests of a model in its card."""

import hashlib
import json
import shutil
from pathlib import Path

import export_model
import pytest
from model_results import DIGEST, digest_model
from recipe_commands import snapshot


@pytest.fixture
def folder(trained, tmp_path):
    return Path(shutil.copytree(trained / "model", tmp_path / "model"))


@pytest.fixture
def write_report(verified, folder, tmp_path):
    """Write the verification's report, changed; give its path."""

    def write(name="report.json", **changed):
        report = json.loads((verified / "report.json").read_text())
        report[DIGEST] = digest_model(folder)
        report |= changed
        kept = {k: v for k, v in report.items() if v is not ...}
        (tmp_path / name).write_text(json.dumps(kept))
        return kept, tmp_path / name

    return write


def attach(folder, path):
    export_model.main([str(folder), f"--report={path}"])
    return (folder / "README.md").read_text()


def rows(card):
    text = card[card.index("<!-- tests -->") : card.index("<!-- end of tests")]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines[1:]]


def test_the_digest_is_that_of_the_checkpoint(folder):
    content = (folder / "embedding_model.ckpt").read_bytes()
    assert digest_model(folder) == hashlib.sha256(content).hexdigest()


def test_a_report_is_a_row_of_the_card_and_the_rest_is_left(
    folder, write_report
):
    path = folder / "README.md"
    path.write_text(path.read_text() + "\nMy own words.\n")
    before = path.read_text()
    report, path = write_report()
    card = attach(folder, path)
    low, high = report["eer_interval_percent"]
    assert rows(card) == [
        [
            report["trials"],
            str(report["num_trials"]),
            str(report["num_speakers"]),
            "cosine, normalisation none",
            f"{report['eer_percent']:.2f} ({low:.2f} to {high:.2f})",
            f"{report['min_dcf_0.01']:.3f}",
        ]
    ]
    outside = [
        text.partition("<!-- tests -->")[0]
        + text.partition("<!-- end of tests -->")[2]
        for text in (before, card)
    ]
    assert outside[0] == outside[1]
    assert "FAIR" not in card


def test_a_test_anew_takes_the_place_of_the_one_before(folder, write_report):
    _, path = write_report(condition="first 2 s")
    attach(folder, path)
    _, path = write_report()
    attach(folder, path)
    _, path = write_report(eer_percent=1.25, score_normalisation="s-norm")
    attach(folder, path)
    _, path = write_report(eer_percent=98.75)
    card = attach(folder, path)
    assert len(rows(card)) == 3
    (short,) = [row for row in rows(card) if row[0].endswith(", first 2 s")]
    assert not short[4].startswith("98.75")
    (plain,) = [
        row
        for row in rows(card)
        if "none" in row[3] and not row[0].endswith("s")
    ]
    assert plain[4].startswith("98.75 (")
    tests = json.loads((folder / "tests.json").read_text())["tests"]
    assert len(tests) == 3


def test_a_test_on_trained_speakers_is_called_unfair(folder, write_report):
    _, path = write_report(num_speakers_trained_on=3)
    card = attach(folder, path)
    assert "**NOT A FAIR TEST**: 3 speakers were trained on" in rows(card)[0][0]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({DIGEST: ...}, f"it has no {DIGEST}"),
        ({DIGEST: "0" * 64}, "of another model"),
        ({"eer_interval_percent": ...}, "it has no eer_interval_percent"),
        ({"num_speakers_trained_on": ...}, "it has no num_speakers_trained"),
    ],
)
def test_a_report_of_something_else_is_refused(
    folder, write_report, changed, reason
):
    _, path = write_report(**changed)
    before = snapshot(folder)
    with pytest.raises(ValueError, match=rf"report\.json: {reason}"):
        attach(folder, path)
    path.write_text("{")
    with pytest.raises(ValueError, match=r"report\.json: not valid JSON"):
        attach(folder, path)
    path.write_text("[1]")
    with pytest.raises(ValueError, match=r"report\.json: not keys and their"):
        attach(folder, path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"report\.json"):
        attach(folder, path)
    assert snapshot(folder) == before


def test_a_card_without_a_place_for_it_is_left_alone(folder, write_report):
    (folder / "README.md").write_text("# Mine\n")
    before = snapshot(folder)
    _, path = write_report()
    with pytest.raises(ValueError, match=r"README\.md: README.md has 0 blocks"):
        attach(folder, path)
    assert snapshot(folder) == before
