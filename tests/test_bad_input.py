"""Bad input is named in one error, before training, and loses nothing."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import train_speaker_embeddings
import verify
from command import run
from recipe_commands import BASELINE, HPARAMS, run_verify, snapshot, train

ROOT = Path(__file__).parents[1]


def test_overlap_is_refused_or_labelled(copied, trained, tmp_path, capsys):
    training = json.loads((trained / "model" / "training.json").read_text())
    speaker = training["speakers"][0]
    names = sorted((copied / "wav" / speaker).rglob("*.wav"))
    a, b = (path.relative_to(copied / "wav") for path in names[:2])
    other = next((copied / "wav" / "id10270").rglob("*.wav"))
    c = other.relative_to(copied / "wav")
    trials = tmp_path / "trials.txt"
    trials.write_text(f"1 {a} {b}\n0 {a} {c}\n")
    settings = (copied, trained / "model", tmp_path / "out")
    with pytest.raises(ValueError, match=f"were trained on.*{speaker}"):
        run_verify(*settings, f"--trials={trials}")
    assert not (tmp_path / "out" / "report.json").exists()
    report = run_verify(*settings, f"--trials={trials}", "--allow_overlap=True")
    assert report["num_speakers_trained_on"] == 1
    assert "NOT A FAIR TEST" in capsys.readouterr().out


def spoil_wav(kind):
    """A function that spoils one file."""

    def spoil(path):
        samples, rate = soundfile.read(path)
        if kind == "truncated":
            path.write_bytes(path.read_bytes()[:-2000])
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind == "no samples":
            soundfile.write(path, samples[:0], rate)
        elif kind == "silent":
            soundfile.write(path, 0 * samples, rate)
        elif kind == "nan":
            samples[7] = np.nan
            soundfile.write(path, samples, rate, subtype="FLOAT")
        elif kind == "8 kHz":
            soundfile.write(path, samples, 8000)
        elif kind == "text":
            path.write_text("not audio\n")

    return spoil


@pytest.mark.parametrize(
    "kind",
    ["truncated", "empty", "no samples", "silent", "nan", "8 kHz", "text"],
)
def test_bad_audio_is_named_before_training(copied, tmp_path, kind):
    wavs = sorted((copied / "wav").rglob("*.wav"))
    spoil_wav(kind)(wavs[5])
    output = tmp_path / "out"
    with pytest.raises(ValueError, match=re.escape(str(wavs[5]))):
        train(copied, output)
    assert not list(output.glob("save/CKPT*"))
    spoil_wav(kind)(wavs[-1])  # of a test speaker
    with pytest.raises(ValueError, match="cannot be used"):
        run_verify(copied, HPARAMS / "models", output, *BASELINE)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 id10270/none/00001.wav id10271/x/00001.wav", ":1: there is no"),
        ("1 id10270/none/00001.wav", ":1: "),
        ("2 id10270/a/00001.wav id10271/b/00001.wav", ":1: "),
        ("1 ../../a.wav id10271/b/00001.wav", ":1: "),
    ],
)
def test_bad_trials_are_named_by_line(copied, trained, tmp_path, line, message):
    trials = copied / "meta" / "veri_test2.txt"
    lines = trials.read_text().splitlines()
    trials.write_text("\n".join([line, *lines]) + "\n")
    with pytest.raises(ValueError, match=re.escape(f"{trials}{message}")):
        run_verify(copied, trained / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_data_folder_is_named_with_the_layout(trained, tmp_path):
    nowhere, message = tmp_path / "nowhere", r"no data_folder .*nowhere"
    with pytest.raises(FileNotFoundError, match=message):
        train(nowhere, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=message):
        run_verify(nowhere, trained / "model", tmp_path / "out")


@pytest.mark.parametrize("key", ["noise_folder", "rir_folder"])
def test_no_augmentation_folder_says_where_to_get_it(corpus, tmp_path, key):
    message = f"no audio files. Get .*openslr.*--{key}=null"
    with pytest.raises(ValueError, match=message):
        train(corpus, tmp_path, f"--{key}={tmp_path / 'nowhere'}")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--sentence_length=2.0", "sentence_length"),
        ("--model={d_modell: 3}", "override scalars"),
        ("--mfcon_weight=-1", "must be finite and not negative"),
        ("--num_heads=3", r"num_heads \(3\) must divide d_model \(16\)"),
        ("--contrastive=!ref <triplett_loss>", "triplett_loss"),
        ("--blocks=[0, 7]", "must be different numbers from 0 to 1"),
        ("--batch_size=1000", "number of training utterances"),
        ("--blocks=[0, 7", "not valid YAML"),
        ("--train_log=a=b", "another '='"),
        ("--batch_size=9**9**9", "write the number, not a power"),
        ("--train_log=<train_log><train_log>", "'train_log' refers to itself"),
        ("--output_folder=<save_folder>", "refers to itself"),
    ],
)
def test_wrong_overrides_are_named(corpus, tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        train(corpus, tmp_path / "out", override)
    assert not list((tmp_path / "out").glob("save/CKPT*"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--test_only=3"], "argument --test_only: ignored explicit argument"),
        (["--d=3"], "ambiguous option: --d=3 could match"),
        (["--seed=" + "[" * 400], "not valid YAML"),
        (["--seed=2001-99-99"], "not valid YAML: month must be in 1..12"),
        (["--- a=3"], "the overrides '- a: 3': not keys and their values"),
        (["--trials=a", "--seed=[1"], "the overrides 'trials: a\\nseed: [1'"),
        (["--a\nb=c=d"], "another '='"),
    ],
)
def test_words_that_do_not_parse_are_one_line(
    words, message, monkeypatch, capsys
):
    argv = ["verify.py", str(HPARAMS / "verify.yaml"), *words]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(SystemExit, match="2"):
        run(verify.main)
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1


def test_help_is_no_error(capsys):
    with pytest.raises(SystemExit, match="0"):
        verify.main(["--help"])
    assert "--help_speechbrain" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sentence_len: 3.0", "sentence_lenn: 3.0", "sentence_lenn"),
        ("seed: 1986\n", "seed: 1986\nsnr_lov: 3\n", "nothing uses 'snr_lov'"),
        ("max_grad_norm: .inf", "max_grad_nrom: .inf", "max_grad_norm"),
        (
            "        supcon: !ref <supcon_weight>",
            "        supconn: !ref <supcon_weight>",
            "supcon, supconn stands in one only",
        ),
        ("    num_blocks: !ref", "    num_bloks: !ref", "num_blo"),
        ("lr: 0.001", "lr: !ref <learning_rate>", "learning_rate"),
    ],
)
def test_a_misspelt_yaml_key_is_named(tmp_path, old, new, message):
    """Also a weight for a loss that does not exist."""
    text = (HPARAMS / "mfcon.yaml").read_text()
    assert text.count(old) == 1
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new))
    shutil.copytree(HPARAMS / "models", tmp_path / "models")
    with pytest.raises(ValueError, match=message):
        train_speaker_embeddings.main(
            [str(path), f"--output_folder={tmp_path / 'out'}"]
        )


def test_a_yaml_file_in_another_encoding_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes("output_folder: /data/Zürich\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"mine\.yaml: not UTF-8 text"):
        train_speaker_embeddings.main([str(path)])


def test_a_checkpoint_of_another_architecture_is_left_alone(corpus, trained):
    before = snapshot(trained)
    with pytest.raises(ValueError, match="of another architecture"):
        train(corpus, trained, "--d_model=32")
    assert snapshot(trained) == before


@pytest.mark.parametrize(
    "override", ["--seed=7", "--num_dev_speakers=0", "--num_dev_trials=10"]
)
def test_a_training_is_not_continued_on_other_data(corpus, trained, override):
    before = snapshot(trained)
    with pytest.raises(ValueError, match="a training on other data"):
        train(corpus, trained, override)
    assert snapshot(trained) == before


def test_a_model_folder_that_does_not_fit_is_named(corpus, trained, tmp_path):
    folder = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    torch.save({"weight": torch.zeros(3)}, folder / "embedding_model.ckpt")
    with pytest.raises(ValueError, match=r"embedding_model.ckpt does not fit"):
        run_verify(corpus, folder, tmp_path / "out")
    (folder / "training.json").write_text("{")
    with pytest.raises(ValueError, match=r"training.json is damaged"):
        run_verify(corpus, folder, tmp_path / "out")
    (folder / "embedding_model.ckpt").unlink()
    with pytest.raises(ValueError, match=r"embedding_model.ckpt is missing"):
        run_verify(corpus, folder, tmp_path / "out")
    (folder / "hyperparams.yaml").unlink()
    with pytest.raises(ValueError, match=r"hyperparams.yaml is missing"):
        run_verify(corpus, folder, tmp_path / "out")


@pytest.mark.parametrize(
    "name", ["hyperparams.yaml", "embedding_model.ckpt", "training.json"]
)
def test_a_model_folder_that_lacks_a_file_is_named(
    corpus, trained, tmp_path, name
):
    folder = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    (folder / name).unlink()
    before = snapshot(tmp_path)
    with pytest.raises(ValueError, match=f"/{name} is missing: give the model"):
        run_verify(corpus, folder, tmp_path / "out")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("is_for_several", [False, True])
def test_most_commands_refuse_several_processes(
    is_for_several, monkeypatch, capsys
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    called = []
    if is_for_several:
        run(called.append, is_for_several)
        assert called
    else:
        with pytest.raises(SystemExit, match="2"):
            run(called.append)
        assert "works in one process" in capsys.readouterr().err
        assert not called


def test_an_error_is_one_line_and_exit_status_2(tmp_path):
    """The command itself, in a process of its own."""
    script = ROOT / "recipes" / "VoxCeleb1" / "train_speaker_embeddings.py"
    result = subprocess.run(
        [
            sys.executable,
            str(script),
            "hparams/mfcon.yaml",
            f"--data_folder={tmp_path / 'nowhere'}",
            f"--output_folder={tmp_path / 'out'}",
        ],
        cwd=script.parent,  # where hparams is a link
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "error: there is no data_folder" in result.stderr
    assert "Traceback" not in result.stderr
