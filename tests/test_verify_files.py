"""Audio files compared by a model folder, as `verify.py` would."""

import csv
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import verify_files
from command import run
from scipy.signal import resample_poly

from custom_modules.scoring import read_scores

TOLERANCE = 1e-4


@pytest.fixture
def model(trained):
    return str(trained / "model")


def threshold_of(model):
    text = (Path(model) / "hyperparams.yaml").read_text()
    return float(re.search(r"^threshold: (\S+)", text, re.M)[1])


def read_matrix(text):
    """Header, first column and scores (NaN for an empty cell)."""
    header, *rows = csv.reader(text.splitlines())
    scores = [[float(x or "nan") for x in row[1:]] for row in rows]
    return header[1:], [row[0] for row in rows], np.array(scores)


def test_scores_and_decisions_are_those_of_verify(
    model, corpus, verified, capsys
):
    """All trials that share an enrolment, in one call."""
    trials, scores = read_scores(verified / "scores.txt")
    enrol = trials.enrol[0]
    of_one = [i for i, name in enumerate(trials.enrol) if name == enrol]
    assert len(of_one) > 1
    wavs = [
        str(corpus / "wav" / name)
        for name in (enrol, *(trials.test[i] for i in of_one))
    ]
    verify_files.main([model, *wavs])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(of_one)
    threshold = threshold_of(model)
    for line, i, wav in zip(lines, of_one, wavs[1:], strict=True):
        score, decision = re.fullmatch(
            rf"{wavs[0]} and {wav}: (\S+), (.+) \(threshold {threshold:.6f}\)",
            line,
        ).groups()
        assert float(score) == pytest.approx(scores[i], abs=TOLERANCE)
        is_same = float(score) > threshold
        assert decision == ("same speaker" if is_same else "different speakers")


def test_two_folders_give_the_matrix_of_verify(
    model, corpus, verified, tmp_path, capsys
):
    trials, scores = read_scores(verified / "scores.txt")
    expected = dict(
        zip(zip(trials.enrol, trials.test, strict=True), scores, strict=True)
    )
    folders = [str(corpus / "wav" / name) for name in ("id10270", "id10271")]
    output = tmp_path / "new" / "matrix.csv"
    verify_files.main([model, *folders, f"--output={output}"])
    assert f"4 x 4 scores: {output}" in capsys.readouterr().out
    assert [path.name for path in output.parent.iterdir()] == ["matrix.csv"]
    columns, rows, matrix = read_matrix(output.read_text())
    assert rows == sorted(
        path.relative_to(folders[0]).as_posix()
        for path in Path(folders[0]).rglob("*.wav")
    )
    compared = 0
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            pair = f"id10270/{row}", f"id10271/{column}"
            for trial in (pair, pair[::-1]):
                if trial in expected:
                    compared += 1
                    assert matrix[i, j] == pytest.approx(
                        expected[trial], abs=TOLERANCE
                    )
    assert compared
    verify_files.main([model, *folders])
    assert capsys.readouterr().out == output.read_text()


@pytest.mark.parametrize(
    ("name", "rate", "channels", "tolerance"),
    [
        ("b.flac", 16000, 1, 1e-6),
        ("b.wav", 16000, 3, 1e-6),
        ("b.aiff", 16000, 2, 1e-6),
        ("b.wav", 48000, 1, 0.1),
        ("b.mp3", 44100, 2, 0.2),
        ("b.ogg", 32000, 1, 0.2),
    ],
)
def test_any_rate_channels_and_container_is_the_same_voice(
    model, corpus, tmp_path, capsys, name, rate, channels, tolerance
):
    """Converted by another resampler, so equal up to its filter."""
    wav = next((corpus / "wav" / "id10270").rglob("*.wav"))
    samples, _ = soundfile.read(wav)
    if rate != 16000:
        samples = resample_poly(samples, rate // 100, 160)
    copies = np.stack([samples] * channels, axis=1)
    soundfile.write(tmp_path / name, np.clip(copies, -1, 1), rate)
    verify_files.main([model, str(wav), str(tmp_path / name)])
    score = float(re.search(r": (\S+),", capsys.readouterr().out)[1])
    assert score == pytest.approx(1.0, abs=tolerance)
    other = tmp_path / "folder"
    other.mkdir()
    shutil.copy(tmp_path / name, other)
    verify_files.main([model, str(wav.parent), str(other)])
    assert read_matrix(capsys.readouterr().out)[0] == [name]


@pytest.fixture
def bad_files(corpus, tmp_path):
    """Reason why not, by file."""
    wav = next((corpus / "wav" / "id10270").rglob("*.wav"))
    samples, rate = soundfile.read(wav)
    folder = tmp_path / "bad"
    folder.mkdir()
    nan = samples.copy()
    nan[7] = np.nan
    soundfile.write(folder / "short.wav", samples[: rate // 50], rate)
    soundfile.write(folder / "one.wav", samples[5000:5002], rate)
    soundfile.write(folder / "silent.wav", 0 * samples, rate)
    soundfile.write(folder / "slow.wav", samples, 8000)
    soundfile.write(folder / "nan.wav", nan, rate, subtype="FLOAT")
    (folder / "text.wav").write_text("not audio\n")
    (folder / "empty.wav").write_bytes(b"")
    (folder / "cut.wav").write_bytes(wav.read_bytes()[:-2000])
    return {
        str(folder / name): reason
        for name, reason in {
            "short.wav": "3 feature frames, too few",
            "one.wav": "1 feature frames, too few",
            "silent.wav": "silent",
            "slow.wav": "8000 Hz is below the model's 16000 Hz",
            "nan.wav": "NaN or infinity",
            "text.wav": "not audio",
            "empty.wav": r"empty file \(0 bytes\)",
            "cut.wav": "truncated",
            "none.wav": "No such file",
        }.items()
    }


def test_a_file_that_cannot_be_used_is_named_and_the_others_go_on(
    model, corpus, bad_files, capsys
):
    good = [str(x) for x in sorted((corpus / "wav/id10270").rglob("*.wav"))]
    num_files = len(bad_files) + 2
    with pytest.raises(ValueError, match=f"9 of {num_files} files cannot"):
        verify_files.main([model, good[0], *bad_files, good[1]])
    *failed, last = capsys.readouterr().out.splitlines()
    for line, (path, reason) in zip(failed, bad_files.items(), strict=True):
        assert line.startswith(f"{good[0]} and {path}: no score ({path}: ")
        assert line.count(path) == 2
        assert re.search(reason, line)
    assert "speaker" in last
    silent = next(path for path in bad_files if "silent" in path)
    with pytest.raises(ValueError, match="1 of 2 files"):
        verify_files.main([model, silent, good[0]])
    assert capsys.readouterr().out.count("no score") == 1


def test_a_matrix_has_empty_cells_for_them(model, corpus, bad_files, capsys):
    folder = Path(next(iter(bad_files))).parent
    good = corpus / "wav" / "id10270"
    shutil.copy(next(good.rglob("*.wav")), folder / "good.wav")
    with pytest.raises(ValueError, match="8 of 13 files cannot be used"):
        verify_files.main([model, str(good), str(folder)])
    shown = capsys.readouterr()
    names, _, scores = read_matrix(shown.out)
    assert np.isnan(scores).all(axis=0).sum() == 8
    assert np.isfinite(scores[:, names.index("good.wav")]).all()
    assert shown.err.count("no scores: ") == 8


@pytest.mark.parametrize("p01", ["-1.5", "1.5", "null", None])
def test_the_operating_point_chooses_the_threshold(
    trained, corpus, tmp_path, capsys, p01
):
    """Null where rejecting all is cheapest; a missing key in older folders."""
    folder = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    path = folder / "hyperparams.yaml"
    line = "" if p01 is None else f"threshold_p01: {p01}"
    text = re.sub(r"(?m)^threshold_p01:.*$", line, path.read_text())
    path.write_text(text)
    wavs = [str(x) for x in sorted((corpus / "wav/id10270").rglob("*.wav"))[:2]]
    verify_files.main([str(folder), *wavs, "--operating_point=p01"])
    shown = capsys.readouterr().out
    assert {
        "-1.5": "same speaker (threshold -1.500000)",
        "1.5": "different speakers (threshold 1.500000)",
    }.get(p01, "no decision (the model folder has no such threshold)") in shown
    for arguments in ([], ["--operating_point=eer"]):
        verify_files.main([str(folder), *wavs, *arguments])
        shown = capsys.readouterr().out
        assert f"(threshold {threshold_of(folder):.6f})" in shown
    with pytest.raises(ValueError, match=r"choose from '?eer'?, '?p01'?"):
        verify_files.main([str(folder), *wavs, "--operating_point=p10"])


def test_no_threshold_is_no_decision(trained, corpus, tmp_path, capsys):
    folder = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    path = folder / "hyperparams.yaml"
    text = re.sub(r"(?m)^threshold: \S+", "threshold: null", path.read_text())
    path.write_text(text)
    wavs = sorted((corpus / "wav" / "id10270").rglob("*.wav"))[:2]
    verify_files.main([str(folder), *map(str, wavs)])
    shown = capsys.readouterr().out
    assert "no decision (the model folder has no such threshold)" in shown
    assert "same" not in shown


def test_the_exit_status_of_the_command(
    model, corpus, tmp_path, monkeypatch, capsys
):
    wav = str(next((corpus / "wav" / "id10270").rglob("*.wav")))

    def exit_status(*arguments):
        monkeypatch.setattr(sys, "argv", ["verify_files.py", *arguments])
        try:
            run(verify_files.main)
        except SystemExit as stop:
            return stop.code
        return 0

    assert exit_status(model, wav, wav) == 0
    assert exit_status(model, wav, str(tmp_path / "none.wav"), wav) == 2
    shown = capsys.readouterr()
    assert shown.out.count("same speaker") == 2
    assert "error: 1 of 2 files cannot be used" in shown.err
    assert exit_status("--help") == 0
    assert "Example: python verify_files.py" in capsys.readouterr().out


def test_wrong_arguments_are_one_line(model, corpus, tmp_path):
    wav = str(next((corpus / "wav" / "id10270").rglob("*.wav")))
    with pytest.raises(ValueError, match="required: others; usage: verify_f"):
        verify_files.main([model, wav])
    for wrong in ([wav, str(tmp_path)], [str(tmp_path)] * 3):
        with pytest.raises(ValueError, match="files alone, or two folders"):
            verify_files.main([model, *wrong])
    with pytest.raises(ValueError, match=r"--output=x.csv: .*two folders"):
        verify_files.main([model, wav, wav, "--output=x.csv"])
    with pytest.raises(ValueError, match="no audio files"):
        verify_files.main([model, str(tmp_path), str(tmp_path)])


@pytest.mark.parametrize(
    "name", ["hyperparams.yaml", "embedding_model.ckpt", "training.json"]
)
def test_a_model_folder_that_lacks_a_file_is_one_line(
    trained, corpus, tmp_path, name
):
    folder = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    (folder / name).unlink()
    wav = str(next((corpus / "wav" / "id10270").rglob("*.wav")))
    folders = [str(corpus / "wav" / x) for x in ("id10270", "id10271")]
    output = tmp_path / "new" / "matrix.csv"
    for words in ([wav, wav], [*folders, f"--output={output}"]):
        with pytest.raises(ValueError, match=f"{name} is missing: give the mo"):
            verify_files.main([str(folder), *words])
    assert not output.parent.exists()
