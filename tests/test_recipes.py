"""The commands end to end, on seconds of synthetic speech."""

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
from speaker_brain import SpeakerBrain
from speechbrain.inference.speaker import SpeakerRecognition
from synthetic_corpus import make_corpus

from custom_modules.scoring import read_scores

ROOT = Path(__file__).parents[1]
HPARAMS = ROOT / "hparams"
NARROW = [
    "--num_epochs=2",
    "--batch_size=8",
    "--sentence_len=0.5",
    "--num_dev_speakers=2",
    "--num_dev_trials=20",
    "--warmup_steps=4",
    "--num_workers=0",
    "--d_model=16",
    "--num_blocks=2",
    "--d_ffn=32",
    "--subsampling=4",
    "--subsampling_channels=4",
    "--attention_channels=8",
    "--emb_dim=16",
    "--noprogressbar",
]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus") / "VoxCeleb1"
    make_corpus(
        folder,
        num_train_speakers=20,
        num_test_speakers=4,
        num_sessions=2,
        utterances_per_session=2,
        num_trials=40,
        num_noises=2,
        num_rirs=2,
        utterance_seconds=(0.6, 1.4),
        num_processes=1,
    )
    return folder


@pytest.fixture
def copied(corpus, tmp_path):
    """A corpus that a test may spoil."""
    return Path(shutil.copytree(corpus, tmp_path / "data"))


def merged(*arguments):
    """Arguments of which a later one replaces an earlier of the same key."""
    return list({a.partition("=")[0]: a for a in arguments}.values())


def train(data, output, *overrides):
    """Run the training command in this process."""
    train_speaker_embeddings.main(
        merged(
            str(HPARAMS / "mfcon.yaml"),
            f"--data_folder={data}",
            f"--noise_folder={data}/noise",
            f"--rir_folder={data}/rir",
            f"--output_folder={output}",
            *NARROW,
            *overrides,
        )
    )


def run_verify(data, model, output, *overrides):
    """Run the verification command in this process; return its report."""
    verify.main(
        merged(
            str(HPARAMS / "verify.yaml"),
            f"--data_folder={data}",
            f"--model_folder={model}",
            f"--output_folder={output}",
            "--num_workers=0",
            "--batch_size=3",
            "--num_resamples=20",
            *overrides,
        )
    )
    return json.loads((Path(output) / "report.json").read_text())


@pytest.fixture(scope="session")
def trained(corpus, tmp_path_factory):
    """Output folder of a finished training."""
    output = tmp_path_factory.mktemp("trained")
    train(corpus, output)
    return output


@pytest.fixture(scope="session")
def verified(corpus, trained):
    """Output folder of its verification."""
    run_verify(corpus, trained / "model", trained / "verification")
    return trained / "verification"


def snapshot(folder):
    """Contents of a folder, to see that nothing changed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in files}


def weights(output):
    return torch.load(output / "model" / "embedding_model.ckpt")


def test_training_logs_every_term_and_what_users_watch(trained):
    lines = (trained / "train_log.txt").read_text().splitlines()
    assert len(lines) == 2
    for name in (
        "am_softmax",
        "mfcon",
        "supcon",
        "accuracy",
        "accuracy_with_margin",
        "lr",
        "utterances_per_second",
        "share_waiting_for_data",
        "valid eer",
        "valid min_dcf",
    ):
        assert all(f"{name}: " in line for line in lines), name
    log = (trained / "log.txt").read_text()
    assert "each batch holds 8 of them and 8 augmented copies" in log


def test_best_and_last_checkpoint_are_kept(trained):
    metas = [p.read_text() for p in trained.glob("save/CKPT*/CKPT.yaml")]
    epochs = [int(re.search(r"epoch: (\d+)", meta)[1]) for meta in metas]
    eers = [float(re.search(r"eer: (\S+)", meta)[1]) for meta in metas]
    assert 2 in epochs
    log = (trained / "train_log.txt").read_text()
    best = min(float(x) for x in re.findall(r"valid eer: ([^,]+)", log))
    assert min(eers) == pytest.approx(best, rel=5e-3)  # the log rounds
    training = json.loads((trained / "model" / "training.json").read_text())
    assert training["dev_eer"] == min(eers)


def test_test_and_development_speakers_are_never_trained_on(corpus, trained):
    training = json.loads((trained / "model" / "training.json").read_text())
    rows = (trained / "save" / "dev.csv").read_text().splitlines()[1:]
    dev = {row.split("/")[0] for row in rows}
    speakers = {path.name for path in (corpus / "wav").iterdir()}
    tested = {s for s in speakers if s >= "id10270"}
    assert len(dev) == 2
    assert set(training["speakers"]) == speakers - dev - tested


def test_the_report_says_what_was_measured(verified):
    report = json.loads((verified / "report.json").read_text())
    trials, scores = read_scores(verified / "scores.txt")
    assert report["num_trials"] == len(scores)
    assert report["num_target_trials"] == trials.is_target.sum()
    assert report["num_utterances"] == 16
    assert report["num_speakers_trained_on"] == 0
    assert report["trials"] == "veri_test2.txt"
    low, high = report["eer_interval_percent"]
    assert 0 <= low <= report["eer_percent"] <= high <= 100
    for key in ("min_dcf_0.01", "min_dcf_0.001"):
        assert 0 <= report[key] <= 1
        assert f"{key}_threshold" in report


def test_scores_do_not_depend_on_the_batch(corpus, trained, verified, tmp_path):
    run_verify(corpus, trained / "model", tmp_path, "--batch_size=1")
    _, alone = read_scores(tmp_path / "scores.txt")
    _, batched = read_scores(verified / "scores.txt")
    np.testing.assert_allclose(alone, batched, atol=1e-4)


def test_speechbrain_loads_the_folder_and_gives_the_same_scores(
    corpus, trained, verified, tmp_path
):
    """A copy far from the training folder, by SpeechBrain's interface."""
    folder = shutil.copytree(trained / "model", tmp_path / "model")
    model = SpeakerRecognition.from_hparams(
        source=str(folder), savedir=str(tmp_path / "saved")
    )
    trials, scores = read_scores(verified / "scores.txt")
    wavs = corpus / "wav"
    lengths = {
        soundfile.info(wavs / name).frames
        for name in (*trials.enrol[:8], *trials.test[:8])
    }
    assert len(lengths) > 4
    for enrol, test, expected in zip(
        trials.enrol[:8], trials.test[:8], scores[:8], strict=True
    ):
        score, _ = model.verify_files(str(wavs / enrol), str(wavs / test))
        assert score.item() == pytest.approx(expected, abs=1e-4)
    checkpoints = trained.glob("save/CKPT*/CKPT.yaml")
    thresholds = re.findall(
        r"threshold: (\S+)", "".join(p.read_text() for p in checkpoints)
    )
    assert str(model.hparams.threshold) in thresholds


def test_an_interrupted_training_ends_with_the_same_weights(
    corpus, trained, tmp_path, monkeypatch
):
    """Stopped in the middle of the second epoch, and started again."""
    steps = ["--ckpt_interval_steps=1", "--ckpt_interval_minutes=0"]
    fit_batch = SpeakerBrain.fit_batch
    calls = []

    def stop_at_the_eleventh(self, batch):
        calls.append(batch.id)
        if len(calls) == 11:
            raise KeyboardInterrupt
        return fit_batch(self, batch)

    monkeypatch.setattr(SpeakerBrain, "fit_batch", stop_at_the_eleventh)
    with pytest.raises(KeyboardInterrupt):
        train(corpus, tmp_path, *steps)
    assert len(calls) == 11
    monkeypatch.setattr(SpeakerBrain, "fit_batch", fit_batch)
    train(corpus, tmp_path, *steps)
    for name, value in weights(trained).items():
        assert torch.equal(weights(tmp_path)[name], value), name


def test_without_development_speakers_the_last_epoch_is_used(corpus, tmp_path):
    train(corpus, tmp_path, "--num_dev_speakers=0", "--mfcon_weight=0")
    training = json.loads((tmp_path / "model" / "training.json").read_text())
    assert training["epoch"] == 2
    assert training["dev_eer"] is None
    assert len(training["speakers"]) == 20
    log = (tmp_path / "train_log.txt").read_text()
    assert "mfcon" not in log  # nor is it computed


def test_a_loss_of_nan_changes_nothing(corpus, tmp_path, monkeypatch):
    """Every loss is NaN: SpeechBrain's patience ends the run; weights and
    batch-norm statistics are those of the start."""
    compute = SpeakerBrain.compute_objectives
    before = {}

    def spoil(self, predictions, batch, stage):
        if not before:
            before.update(
                {k: v.clone() for k, v in self.modules.named_parameters()}
            )
        return compute(self, predictions, batch, stage) * torch.nan

    stopped = []

    def remember(self, loss):
        stopped.append(dict(self.modules.named_parameters()))
        buffers = dict(self.modules.named_buffers())
        for name, value in buffers.items():
            if name.endswith("running_mean"):
                assert (value == 0).all(), name
        check(self, loss)

    check = SpeakerBrain.check_loss_isfinite
    monkeypatch.setattr(SpeakerBrain, "compute_objectives", spoil)
    monkeypatch.setattr(SpeakerBrain, "check_loss_isfinite", remember)
    with pytest.raises(ValueError, match="patience is exhausted"):
        train(corpus, tmp_path)
    assert len(stopped) == 4  # --nonfinite_patience is 3
    for name, value in before.items():
        assert torch.equal(stopped[-1][name], value), name


def test_augmentation_of_one_kind_or_none(corpus, tmp_path):
    train(corpus, tmp_path / "a", "--rir_folder=null", "--num_epochs=1")
    train(
        corpus,
        tmp_path / "b",
        "--rir_folder=null",
        "--noise_folder=null",
        "--num_epochs=1",
    )
    log = (tmp_path / "b" / "log.txt").read_text()
    assert "8 of them and no augmented copies" in log


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


def test_the_untrained_baseline_is_verified_by_the_same_command(
    corpus, tmp_path
):
    report = run_verify(corpus, HPARAMS / "models", tmp_path, *BASELINE)
    assert report["num_speakers_trained_on"] == 0


BASELINE = ["--model_yaml=mean_and_deviation.yaml"]


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


def test_stereo_and_44100_hz_are_mended(copied, tmp_path):
    """Scores stay those of the mono files at 16 kHz."""
    before = run_verify(copied, HPARAMS / "models", tmp_path, *BASELINE)
    assert before["num_trials"]
    _, mono = read_scores(tmp_path / "scores.txt")
    wavs = sorted((copied / "wav").rglob("*.wav"))
    for path in wavs:
        samples, rate = soundfile.read(path)
        soundfile.write(path, np.stack([samples] * 2, 1), rate)
    run_verify(copied, HPARAMS / "models", tmp_path, *BASELINE)
    _, stereo = read_scores(tmp_path / "scores.txt")
    np.testing.assert_allclose(stereo, mono, atol=1e-4)
    samples, rate = soundfile.read(wavs[0])
    soundfile.write(wavs[0], samples, 44100)
    train(copied, tmp_path / "out", "--num_epochs=1")


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


def test_no_data_folder_is_named_with_the_layout(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no data_folder .*nowhere"):
        train(tmp_path / "nowhere", tmp_path / "out")


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
    ],
)
def test_wrong_overrides_are_named(corpus, tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        train(corpus, tmp_path / "out", override)
    assert not list((tmp_path / "out").glob("save/CKPT*"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sentence_len: 3.0", "sentence_lenn: 3.0", "sentence_lenn"),
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


def test_a_checkpoint_of_another_architecture_is_left_alone(corpus, trained):
    before = snapshot(trained)
    with pytest.raises(ValueError, match="of another architecture"):
        train(corpus, trained, "--d_model=32")
    assert snapshot(trained) == before


def test_a_model_folder_that_does_not_fit_is_named(corpus, trained, tmp_path):
    folder = Path(shutil.copytree(trained / "model", tmp_path / "model"))
    torch.save({"weight": torch.zeros(3)}, folder / "embedding_model.ckpt")
    with pytest.raises(ValueError, match=r"embedding_model.ckpt does not fit"):
        run_verify(corpus, folder, tmp_path / "out")
    (folder / "hyperparams.yaml").unlink()
    with pytest.raises(ValueError, match=r"hyperparams.yaml is missing"):
        run_verify(corpus, folder, tmp_path / "out")


def test_several_ranks_are_refused(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="in one process"):
        train(corpus, tmp_path)


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
