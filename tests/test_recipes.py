"""The commands end to end, on seconds of synthetic speech."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from recipe_commands import BASELINE, HPARAMS, run_verify, train, train_mha
from speaker_brain import SpeakerBrain
from speechbrain.inference.speaker import SpeakerRecognition

from custom_modules.scoring import read_scores


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
    metas = [meta for meta in metas if "end-of-epoch: true" in meta]
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
    run_verify(corpus, trained / "model", tmp_path, "--batch_seconds=0.1")
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


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["--pooling=!ref <poolings[double_multi_head]>", "--head_dropout=0.3"],
        [
            "--classification_loss=!ref <am_softmax_loss>",
            "--classifier=!ref <cosine_classifier>",
        ],
    ],
    ids=["softmax", "double", "am_softmax"],
)
def test_the_cnn_is_trained_verified_and_loaded(corpus, tmp_path, overrides):
    """Crops of another length in each batch; whole utterances at the end."""
    train_mha(corpus, tmp_path / "mha", "--num_epochs=1", *overrides)
    log = (tmp_path / "mha" / "train_log.txt").read_text()
    assert "train classification: " in log
    assert "block" not in log
    model = tmp_path / "mha" / "model"
    report = run_verify(corpus, model, tmp_path / "verification")
    trials, scores = read_scores(tmp_path / "verification" / "scores.txt")
    assert report["num_trials"] == len(scores) > 0
    loaded = SpeakerRecognition.from_hparams(
        source=str(model), savedir=str(tmp_path / "saved")
    )
    score, _ = loaded.verify_files(
        *(
            str(corpus / "wav" / names[0])
            for names in (trials.enrol, trials.test)
        )
    )
    assert score.item() == pytest.approx(scores[0], abs=1e-4)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "--classification_loss=!ref <am_softmax_loss>",
            r"needs cosines.*cosine_classifier",
        ),
        (
            "--classifier=!ref <cosine_classifier>",
            r"needs logits.*linear_classifier",
        ),
    ],
)
def test_a_classifier_that_does_not_fit_is_refused_before_training(
    corpus, tmp_path, override, message
):
    with pytest.raises(ValueError, match=message):
        train_mha(corpus, tmp_path / "mha", override)
    assert not list(tmp_path.glob("mha/save/CKPT*"))


@pytest.mark.parametrize(
    "overrides",
    [
        ["--contrastive=!ref <triplet_loss>"],
        ["--contrastive=!ref <npairs_loss>"],
        ["--contrastive=!ref <ntxent_loss>"],
        ["--share_pooling=True", "--share_projection=True", "--blocks=[1]"],
    ],
)
def test_the_rows_of_the_papers_tables_train(corpus, tmp_path, overrides):
    rows = ["--mfcon_weight=0.1", "--supcon_weight=0", "--num_epochs=1"]
    train(corpus, tmp_path, *rows, *overrides)
    log = (tmp_path / "train_log.txt").read_text()
    value = re.search(r"mfcon: (\S+),", log)[1]
    assert float(value) > 0
    assert "supcon" not in log


def test_the_balanced_sampler_is_chosen_by_an_override(corpus, tmp_path):
    arguments = ["--sampler=!ref <balanced_sampler>", "--num_epochs=1"]
    train(corpus, tmp_path, *arguments)
    assert "supcon" in (tmp_path / "train_log.txt").read_text()
    with pytest.raises(ValueError, match="utterances_per_speaker must divide"):
        train(corpus, tmp_path / "b", *arguments, "--utterances_per_speaker=3")


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


def test_the_untrained_baseline_is_verified_by_the_same_command(
    corpus, tmp_path
):
    report = run_verify(corpus, HPARAMS / "models", tmp_path, *BASELINE)
    assert report["num_speakers_trained_on"] == 0


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


@pytest.mark.long
def test_a_compiled_training_has_the_losses_of_another(corpus, tmp_path):
    """Without dropout, whose mask the compiled model draws in another way."""
    losses = []
    for name, options in (("eager", []), ("compiled", ["--compile"])):
        train(corpus, tmp_path / name, "--dropout=0.0", *options)
        log = (tmp_path / name / "train_log.txt").read_text()
        losses.append([float(x) for x in re.findall(r"loss: (\S+),", log)])
        assert (
            "failed to compile" not in (tmp_path / name / "log.txt").read_text()
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)  # the log rounds


def test_a_model_is_not_compiled_for_every_length(corpus, tmp_path):
    message = r"--compile with crops of \[0\.4, 0\.6\] s .* give one"
    with pytest.raises(ValueError, match=message):
        train_mha(corpus, tmp_path, "--compile")


@pytest.mark.parametrize(("share", "warns"), [(0.09, False), (0.12, True)])
def test_waiting_for_data_is_warned_of(share, warns, caplog):
    brain = SimpleNamespace(
        train_stats={"share_waiting_for_data": share},
        hparams=SimpleNamespace(num_workers=4),
    )
    SpeakerBrain._warn_of_waiting(brain)
    expected = r"12% of the epoch .*--num_workers more than 4.*pack\.py"
    assert bool(re.search(expected, caplog.text)) == warns
    assert bool(caplog.text) == warns


def test_bf16_trains_with_finite_losses(corpus, tmp_path):
    train(corpus, tmp_path, "--precision=bf16", "--num_epochs=1")
    log = (tmp_path / "train_log.txt").read_text()
    assert float(re.search(r"train loss: (\S+),", log)[1]) > 0
    assert "not finite" not in (tmp_path / "log.txt").read_text()
