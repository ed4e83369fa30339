"""Reports on score files, without a model."""

import json

import pytest
import verify
from recipe_commands import HPARAMS

from custom_modules.scoring import read_scores


def report_on(scores, *overrides):
    verify.main(
        [
            str(HPARAMS / "verify.yaml"),
            f"--scores={scores}",
            "--num_resamples=20",
            *overrides,
        ]
    )


def test_our_own_scores_give_our_own_report(verified, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes((verified / "scores.txt").read_bytes())
    report_on(path)
    report = json.loads((tmp_path / "mine_report" / "report.json").read_text())
    expected = json.loads((verified / "report.json").read_text())
    for key in ("eer_percent", "eer_interval_percent", "min_dcf_0.01"):
        assert report[key] == expected[key], key
    assert report["num_utterances"] == expected["num_utterances"]
    assert report["model"] is None
    assert report["scoring"] == "of mine.txt"


def test_a_foreign_file_is_matched_with_the_trial_list(
    corpus, verified, tmp_path
):
    trials, scores = read_scores(verified / "scores.txt")
    rows = [
        f"{enrol.removesuffix('.wav')}\t{test.removesuffix('.wav')}\t{score}\n"
        for enrol, test, score in zip(*trials[:2], scores, strict=True)
    ]
    path = tmp_path / "kaldi.txt"
    path.write_text("".join(reversed(rows)))
    out = tmp_path / "chosen"
    report_on(path, f"--data_folder={corpus}", f"--output_folder={out}")
    report = json.loads((out / "report.json").read_text())
    expected = json.loads((verified / "report.json").read_text())
    assert report["eer_percent"] == expected["eer_percent"]
    assert report["trials_sha256"] == expected["trials_sha256"]
    again = read_scores(out / "scores.txt")
    assert again[0].enrol == trials.enrol
    assert again[1].tolist() == scores.tolist()


def test_a_list_without_audio_gives_a_report_without_players(
    corpus, verified, tmp_path
):
    meta = tmp_path / "data" / "meta"
    meta.mkdir(parents=True)
    text = (corpus / "meta" / "veri_test2.txt").read_text()
    (meta / "veri_test2.txt").write_text(text)
    path = tmp_path / "mine.txt"
    scores = read_scores(verified / "scores.txt")[1]
    path.write_text("".join(f"{score}\n" for score in scores))
    report_on(path, f"--data_folder={tmp_path / 'data'}")
    written = {x.name for x in (tmp_path / "mine_report").iterdir()}
    assert written == {"report.html", "report.json", "scores.txt"}


def test_what_another_verification_left_is_removed(verified, tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes((verified / "scores.txt").read_bytes())
    folder = tmp_path / "mine_report"
    folder.mkdir()
    for name in ("report.html", "development_scores.txt"):
        (folder / name).write_text("another's")
    report_on(path, "--page=False")
    assert {x.name for x in folder.iterdir()} == {"report.json", "scores.txt"}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rows: rows[:-1], "31 rows for a list of 32 trials"),
        (lambda rows: [*rows, rows[-1]], "33 rows for a list of 32 trials"),
        (
            lambda rows: [x for x in rows if x.startswith("1 ")],
            "all 16 labels are 1",
        ),
    ],
    ids=["too few", "too many", "one class"],
)
def test_wrong_rows_are_named_and_nothing_is_written(
    corpus, verified, tmp_path, edit, message
):
    rows = (verified / "scores.txt").read_text().splitlines(keepends=True)
    path = tmp_path / "mine.txt"
    path.write_text("".join(edit(rows)))
    trials = [] if "all" in message else ["--trials=O-clean"]
    with pytest.raises(ValueError, match=message):
        report_on(path, f"--data_folder={corpus}", *trials)
    assert list(tmp_path.iterdir()) == [path]
