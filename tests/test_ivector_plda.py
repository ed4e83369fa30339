"""The baseline end to end, on seconds of synthetic speech."""

import json
import re
from pathlib import Path

import ivector_plda
import numpy as np
import pytest
import soundfile
from recipe_commands import HPARAMS, NARROW_IVECTOR, merged

from custom_modules.scoring import read_scores

ROUNDING = 1e-4  # of a log-likelihood from float32 alignments


def run_ivector(data, output, *overrides):
    """Run the command in this process; return its report."""
    ivector_plda.main(
        merged(
            str(HPARAMS / "ivector.yaml"),
            f"--data_folder={data}",
            f"--output_folder={output}",
            *NARROW_IVECTOR,
            *overrides,
        )
    )
    return json.loads((Path(output) / "report.json").read_text())


@pytest.fixture(scope="module")
def baseline(corpus, tmp_path_factory):
    """Output folder of the command."""
    output = tmp_path_factory.mktemp("ivector")
    run_ivector(corpus, output)
    return output


def test_the_report_has_what_verifys_has(baseline):
    report = json.loads((baseline / "report.json").read_text())
    trials, scores = read_scores(baseline / "scores.txt")
    assert report["num_trials"] == len(scores) > 0
    assert report["num_target_trials"] == trials.is_target.sum()
    assert report["num_utterances"] == 16
    assert report["num_speakers_trained_on"] == 0
    assert report["trials"] == "veri_test2.txt"
    assert report["score_normalisation"] == "none"
    assert report["model"] == "ivector.yaml"
    assert len(report["trials_sha256"]) == 64
    assert report["training"]["num_speakers"] == 18
    assert 0 <= report["training"]["dev_eer"] <= 1
    for key in ("eer_percent", "min_dcf_0.01", "min_dcf_0.001", "machine"):
        assert key in report
    for key in ("overrides", "seed", "minutes", "machine", "commit"):
        assert key in report["training"]


def test_every_step_of_em_is_logged_and_raises_the_likelihood(baseline):
    text = (baseline / "train_log.txt").read_text()
    for name in ("ubm", "total_variability"):
        lines = re.findall(
            rf"{name} step: (\d) - log-likelihood: (\S+)\n", text
        )
        assert [int(step) for step, _ in lines] == [1, 2, 3, 4, 5]
        values = [float(value) for _, value in lines]
        assert (np.diff(values) > -ROUNDING).all()
        assert values[-1] > values[0]


def test_the_same_seed_gives_the_same_scores(corpus, baseline, tmp_path):
    run_ivector(corpus, tmp_path)
    _, scores = read_scores(tmp_path / "scores.txt")
    _, expected = read_scores(baseline / "scores.txt")
    np.testing.assert_array_equal(scores, expected)


def test_without_development_speakers_and_on_drawn_utterances(corpus, tmp_path):
    report = run_ivector(
        corpus, tmp_path, "--num_dev_speakers=0", "--training_utterances=40"
    )
    assert report["training"]["dev_eer"] is None
    assert report["training"]["num_speakers"] == 20


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("--lda_size=18", r"lda_size \(18\).*less one \(17\).*--lda_size"),
        ("--training_utterances=0", r"training_utterances \(0\)"),
        ("--num_components=100000", "frames cannot start 100000 components"),
        ("--ivector_sise=8", "ivector_sise"),
    ],
)
def test_wrong_sizes_are_named(corpus, tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        run_ivector(
            corpus, tmp_path, "--ivector_size=20", "--n_mfcc=8", override
        )
    assert not (tmp_path / "report.json").exists()
    assert not (tmp_path / "train_log.txt").exists()


def test_an_utterance_without_speech_is_named(copied, tmp_path):
    wav = sorted((copied / "wav").rglob("*.wav"))[-1]
    samples, rate = soundfile.read(wav)
    soundfile.write(wav, 1e-5 * samples, rate, subtype="FLOAT")
    utt_id = "/".join(wav.with_suffix("").parts[-3:])
    with pytest.raises(ValueError, match=f"{utt_id}: no voiced frame"):
        run_ivector(copied, tmp_path)
    assert not (tmp_path / "report.json").exists()
