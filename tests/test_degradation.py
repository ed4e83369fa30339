"""Shorter and noisier recordings: by hand, and the same however read."""

import re

import numpy as np
import pytest
import soundfile
import torch
from augmentation_files import find_noises, make_degradation
from evaluation import make_loader
from extraction import embed_batch, load_model
from recipe_commands import BASELINE, HPARAMS, run_verify
from speechbrain.dataio.batch import PaddedBatch

from custom_modules.augmentation import AugmentationSource
from custom_modules.degradation import Degradation
from custom_modules.scoring import read_scores, utterance_id

ROUNDING = 1e-5
SECONDS, SNR, SEED = 0.5, 5, 1986
DEGRADED = [f"--max_seconds={SECONDS}", f"--test_snr={SNR}"]


@pytest.fixture
def noises(write_wav):
    """A noise longer than the speech, and a shorter one."""
    return [
        write_wav(f"noise{seed}.wav", seconds=seconds, seed=seed)[0]
        for seed, seconds in ((5, 3.0), (6, 0.2))
    ]


def decibels(signal, noise):
    """By the sums of squares, in double precision."""
    signal, noise = (np.asarray(x, np.float64) for x in (signal, noise))
    return 10 * np.log10((signal**2).sum() / (noise**2).sum())


@pytest.mark.parametrize("snr", [20, 0, -5.5])
def test_the_snr_is_over_the_whole_cut_utterance(noises, snr):
    """Its pause among it; what is cut away does not count."""
    wav = torch.rand(16000) - 0.5
    wav[2000:5000] = 0.0
    wav[8000:] *= 100
    degrade = Degradation(SECONDS, noises, snr, 16000, SEED)
    noisy = degrade(wav, "a/s/1")
    assert len(noisy) == 8000
    noise = noisy - wav[:8000]
    assert decibels(wav[:8000], noise) == pytest.approx(snr, abs=1e-3)


def test_noise_is_a_stretch_of_one_of_the_recordings(noises):
    wav = torch.rand(8000) - 0.5
    found = set()
    for utterance in range(8):
        noise = Degradation(None, noises, 0, 16000, SEED)(wav, f"{utterance}")
        noise = (noise - wav).numpy()
        for path in noises:
            recorded, _ = soundfile.read(path, dtype="float32")
            repeated = np.tile(recorded, 1 + 16000 // len(recorded))
            parts = np.lib.stride_tricks.sliding_window_view(repeated, 50)
            start = int(np.argmax(parts @ noise[:50]))
            part = repeated[start : start + 8000]
            if len(part) == 8000:
                gain = (noise @ part) / (part @ part)
                if np.allclose(noise, gain * part, atol=1e-5):
                    found.add(path)
    assert found == set(noises)


def test_what_is_drawn_depends_on_seed_and_utterance_alone(noises):
    wav = torch.rand(8000) - 0.5
    first = Degradation(None, noises, 5, 16000, SEED)
    expected = first(wav, "a/s/1")
    other = first(wav, "a/s/2")
    again = Degradation(None, noises, 5, 16000, SEED)
    again(wav, "b/s/1")
    torch.testing.assert_close(again(wav, "a/s/1"), expected, atol=0, rtol=0)
    assert not torch.equal(other, expected)
    another = Degradation(None, noises, 5, 16000, SEED + 1)
    assert not torch.equal(another(wav, "a/s/1"), expected)


def test_a_short_utterance_stays_as_it_is():
    degrade = Degradation(2, [], None, 16000, SEED)
    wav = torch.rand(16000)
    assert torch.equal(degrade(wav, "a/s/1"), wav)
    assert degrade.shorten(1.0) == 1.0


def test_silence_in_the_noise_is_drawn_again(tmp_path, write_wav):
    """Of 20 stretches one at least has sound; a silent file is an error."""
    half = np.zeros(32000, np.float32)
    half[:16000] = 0.3
    soundfile.write(tmp_path / "half.wav", half, 16000, subtype="FLOAT")
    degrade = Degradation(None, [tmp_path / "half.wav"], 0, 16000, SEED)
    for utterance in range(20):
        wav = torch.rand(100)
        noise = degrade(wav, f"{utterance}") - wav
        assert decibels(wav, noise) == pytest.approx(0, abs=1e-3)
    soundfile.write(tmp_path / "none.wav", 0 * half, 16000)
    degrade = Degradation(None, [tmp_path / "none.wav"], 0, 16000, SEED)
    with pytest.raises(ValueError, match=r"^a/s/1: 20 stretches of noise"):
        degrade(torch.rand(100), "a/s/1")


def test_a_silent_utterance_has_no_snr(noises):
    wav = torch.zeros(16000)
    wav[8000:] = 0.5  # later than what is left
    degrade = Degradation(SECONDS, noises, 5, 16000, SEED)
    message = r"^a/s/1: silent \(first 0\.5 s, noise at 5 dB\), so no noise"
    with pytest.raises(ValueError, match=message):
        degrade(wav, "a/s/1")


@pytest.mark.parametrize(
    ("seconds", "has_noise", "snr", "message"),
    [
        (0, False, None, r"max_seconds \(0\) must be positive"),
        (float("inf"), False, None, r"max_seconds \(inf\) must be positive"),
        (None, True, None, "1 noise files and an SNR of None dB: give both"),
        (None, False, 5, "0 noise files and an SNR of 5 dB: give both"),
        (None, True, float("nan"), r"the SNR \(nan dB\) must be finite"),
    ],
)
def test_what_makes_no_sense_is_refused(
    noises, seconds, has_noise, snr, message
):
    files = noises[:1] if has_noise else []
    with pytest.raises(ValueError, match=message):
        Degradation(seconds, files, snr, 16000, SEED)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"test_snr": 5},
            r"test_noise_folder \(None\) and test_snr \(5\): give both",
        ),
        ({"test_noise_folder": "noise"}, r"test_snr \(None\): give both"),
        (
            {"test_noise_folder": "nowhere", "test_snr": 5},
            "nowhere: no audio files.*--test_noise_folder=FOLDER",
        ),
        ({"max_seconds": "long"}, r"max_seconds \('long'\) must be a number"),
    ],
)
def test_wrong_keys_are_named(overrides, message):
    hparams = {"max_seconds": None, "test_noise_folder": None}
    hparams |= {"test_snr": None, "seed": 1, **overrides}
    with pytest.raises(ValueError, match=message):
        make_degradation(hparams, 16000)


def test_batches_follow_the_cut_lengths(write_wav):
    """Three of 0.5 s fit into 1.6 s, though they are longer as recorded."""
    utterances = {
        f"{i}": write_wav(f"{i}.wav", seconds=1 + i / 10, seed=i)[0]
        for i in range(3)
    }
    degrade = Degradation(SECONDS, [], None, 16000, SEED)
    (batch,) = make_loader(utterances, "files", 16000, 1.6, 0, degrade)
    assert batch.sig.data.shape == (3, 8000)
    assert len(list(make_loader(utterances, "files", 16000, 1.6, 0))) == 3


@pytest.fixture(scope="module")
def by_command(corpus, tmp_path_factory):
    """Scores and report of verify.py with cut and noisy recordings."""
    output = tmp_path_factory.mktemp("degraded")
    report = run_verify(
        *(corpus, HPARAMS / "models", output, *BASELINE, *DEGRADED),
        f"--test_noise_folder={corpus}/noise",
    )
    return output, report


def test_the_scores_are_those_of_a_plain_loop(by_command, corpus):
    """Read, cut, mix by hand, embed one at a time, multiply."""
    output, report = by_command
    assert report["condition"] == "first 0.5 s, noise at 5 dB"
    trials, scores = read_scores(output / "scores.txt")
    model, _ = load_model(HPARAMS / "models", "mean_and_deviation.yaml")
    noises = find_noises(corpus / "noise", 16000)
    source = AugmentationSource(noises, [], SNR, SNR, 16000, SEED)
    embeddings = {}
    for name in {*trials.enrol, *trials.test}:
        utt_id = utterance_id(name)
        (path,) = corpus.rglob(f"{utt_id}.wav")
        samples, _ = soundfile.read(path)
        speech = samples[: int(SECONDS * 16000)]
        noise = source.draw(utt_id, 0, len(speech)).material.double().numpy()
        gain = np.sqrt((speech**2).sum() / (noise**2).sum() / 10 ** (SNR / 10))
        noisy = torch.from_numpy(speech + gain * noise).float()
        batch = PaddedBatch([{"id": utt_id, "sig": noisy}])
        with torch.no_grad():
            embedding = embed_batch(batch, model.mods)[utt_id].double()
        embeddings[name] = embedding / embedding.norm()
    expected = [
        float(embeddings[enrol] @ embeddings[test])
        for enrol, test in zip(trials.enrol, trials.test, strict=True)
    ]
    np.testing.assert_allclose(scores, expected, atol=ROUNDING)


def test_batches_and_workers_do_not_change_the_scores(by_command, corpus):
    output, _ = by_command
    other = output.with_name("others")
    run_verify(
        *(corpus, HPARAMS / "models", other, *BASELINE, *DEGRADED),
        f"--test_noise_folder={corpus}/noise",
        *("--num_workers=2", "--batch_seconds=1"),
    )
    scores, others = (
        read_scores(folder / "scores.txt")[1] for folder in (output, other)
    )
    np.testing.assert_allclose(others, scores, atol=ROUNDING)


def test_degraded_embeddings_stay_out_of_the_cache(corpus, tmp_path):
    """Cut first, with a cache, then as recorded: as if never cut."""
    cached = f"--cache_folder={tmp_path / 'cache'}"
    arguments = corpus, HPARAMS / "models", tmp_path / "scores", *BASELINE
    run_verify(*arguments, f"--max_seconds={SECONDS}", cached)
    cut = (tmp_path / "scores" / "scores.txt").read_text()
    report = run_verify(*arguments, cached)
    whole = (tmp_path / "scores" / "scores.txt").read_text()
    assert report["condition"] == "as recorded"
    run_verify(*arguments, "--cache_folder=null")
    assert whole == (tmp_path / "scores" / "scores.txt").read_text()
    run_verify(*arguments, f"--max_seconds={SECONDS}", cached)
    assert cut == (tmp_path / "scores" / "scores.txt").read_text() != whole


def test_what_is_too_short_for_the_encoder_is_named(corpus, trained, tmp_path):
    with pytest.raises(
        ValueError, match=r"^first 0\.02 s: .*too few"
    ) as caught:
        run_verify(
            corpus, trained / "model", tmp_path / "new", "--max_seconds=0.02"
        )
    assert re.search(r"id\d+/", str(caught.value))
    assert not (tmp_path / "new" / "report.json").exists()


def test_a_score_file_cannot_be_degraded(verified, corpus):
    scores = verified / "scores.txt"
    with pytest.raises(ValueError, match=r"^--max_seconds=2: .*not recordings"):
        run_verify(
            corpus, "", verified, f"--scores={scores}", "--max_seconds=2"
        )
