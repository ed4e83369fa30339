"""The figures command, as it is typed."""

import json
import sys

import pytest
from command import run
from plot import main
from test_attention_maps import EIGHT_HEADS, make_model

NARROW = ["--batch_seconds=4", "--num_workers=0", "--num_resamples=5"]


def test_det_and_scores_of_a_verification(verified, tmp_path, capsys):
    report, new = str(verified / "report.json"), tmp_path / "new"
    main(["det", report, report, f"--output={new}/det", "--labels=A,B"])
    main(["scores", report, f"--output={new}/scores"])
    names = sorted(path.name for path in new.iterdir())
    assert names == ["det.png", "det.svg", "scores.png", "scores.svg"]
    for path in new.iterdir():
        assert path.stat().st_size > 5000, path
    shown = capsys.readouterr().out
    assert f"scores.png, scores.svg: {new}\n" in shown


def test_trial_lists_that_differ_are_refused(verified, tmp_path):
    report = json.loads((verified / "report.json").read_text())
    report["trials_sha256"] = "0" * 64
    other = tmp_path / "report.json"
    other.write_text(json.dumps(report))
    (tmp_path / "scores.txt").symlink_to(verified / "scores.txt")
    first = verified / "report.json"
    with pytest.raises(ValueError, match=f"{first} and {other} are of diff"):
        main(["det", str(first), str(other), f"--output={tmp_path}/det"])
    assert not (tmp_path / "det.png").exists()


def test_a_threshold_that_rejects_all_is_not_drawn(verified, tmp_path):
    report = json.loads((verified / "report.json").read_text())
    report["min_dcf_0.01_threshold"] = None
    (tmp_path / "report.json").write_text(json.dumps(report))
    (tmp_path / "scores.txt").symlink_to(verified / "scores.txt")
    main(["scores", f"{tmp_path}/report.json", f"--output={tmp_path}/scores"])
    assert "minDCF" not in (tmp_path / "scores.svg").read_text()


def test_attention_of_two_models(corpus, tmp_path):
    many = make_model(tmp_path / "many")
    single = make_model(
        tmp_path / "single", EIGHT_HEADS.replace("8", "1"), "DenseHead"
    )
    wav = next((corpus / "wav").rglob("*.wav"))
    output = tmp_path / "attention"
    main(
        [
            "attention",
            str(many),
            str(wav),
            f"--single={single}",
            f"--output={output}",
        ]
    )
    for suffix in ("png", "svg"):
        assert (tmp_path / f"attention.{suffix}").stat().st_size > 5000


def test_attention_of_a_model_without_is_refused_before_all(tmp_path):
    """Before the audio is looked for, too."""
    model = make_model(tmp_path / "model", "StatisticsPooling")
    with pytest.raises(ValueError, match=r"model: .*StatisticsPool"):
        main(
            [
                "attention",
                str(model),
                "none.wav",
                f"--output={tmp_path}/attention",
            ]
        )
    assert list(tmp_path.iterdir()) == [model]


def test_blocks_are_measured_drawn_and_drawn_again(
    corpus, trained, tmp_path, capsys
):
    output = f"--output={tmp_path}/blocks"
    main(
        [
            "blocks",
            str(trained),
            f"--data_folder={corpus}",
            "--labels=MFCon",
            output,
            *NARROW,
        ]
    )
    rates = json.loads((tmp_path / "blocks.json").read_text())
    assert rates["models"][0]["label"] == "MFCon"
    assert rates["num_resamples"] == 5
    assert rates["seed"] == 1986  # of verify.yaml
    first = {
        name: (tmp_path / name).read_bytes()
        for name in ("blocks.png", "blocks.svg")
    }
    main(["blocks", output])
    for name, content in first.items():
        assert (tmp_path / name).read_bytes() == content
    assert "blocks.png, blocks.svg" in capsys.readouterr().out


def test_an_error_is_one_line():
    for arguments, message in (
        (["det", "--output=x"], "required: REPORT"),
        (["det", "none.json", "--output=x"], "none.json: there is no such"),
        (["scores", "none.json", "--output=x.png"], "leave out the suffix"),
        (["blocks", "--output=none/x"], "none/x.json: there is no such"),
        (["blocks", "a", "--output=x"], "--data_folder=FOLDER is needed"),
        (["pie", "--output=x"], "invalid choice: 'pie'"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            main(arguments)
        assert "\n" not in str(caught.value)


def test_an_error_ends_the_command_with_status_2(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["plot.py", "det", "no.json", "--output=x"]
    )
    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: /")
