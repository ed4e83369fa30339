"""PLDA, calibration, quality and cache, by the command."""

import json

import numpy as np
import pack
import pytest
import torch
from audio_files import find_audio
from cohort import draw_training
from extraction import load_model
from manifest import Manifest
from recipe_commands import run_verify

from custom_modules.audio import read_audio
from custom_modules.calibration import LogisticCalibration
from custom_modules.llr_metrics import actual_dcf, cllr
from custom_modules.plda import score_matrix, train_backend
from custom_modules.quality import LogDuration, LogNorm, SignalToNoise
from custom_modules.scoring import read_scores, read_trials, utterance_id

CALIBRATED = "--calibration=!ref <logistic>"
QUALITY = (
    "--quality_measures=[!ref <log_duration>, !ref <log_norm>, !ref <snr>]"
)
PLDA = ["--backend=!ref <plda>", "--lda_size=6", "--plda_rank=4"]


@pytest.fixture(scope="module")
def embedded(corpus, trained):
    """Waveform and embedding of each file, one at a time."""
    model, _ = load_model(trained / "model", "hyperparams.yaml")
    found = {}
    for path in find_audio(corpus / "wav"):
        wav = read_audio(path, 16000)
        embedding = model.encode_batch(wav.unsqueeze(0)).flatten()
        found[utterance_id(path.split("wav/", 1)[1])] = wav, embedding
    return found


def pair_up(trials):
    ids = [list(map(utterance_id, side)) for side in trials[:2]]
    return list(zip(*ids, strict=True))


def test_plda_s_scores_are_those_of_a_plain_loop(
    corpus, trained, embedded, tmp_path
):
    report = run_verify(corpus, trained / "model", tmp_path, *PLDA)
    rows = sorted(Manifest(trained / "save" / "train.csv", corpus))
    backend = train_backend(
        torch.stack([embedded[row.utt_id][1] for row in rows]),
        [row.spk_id for row in rows],
        *(6, 4, 10),
    )
    trials, scores = read_scores(tmp_path / "scores.txt")
    for pair, score in zip(pair_up(trials), scores, strict=True):
        embeddings = torch.stack([embedded[utt_id][1] for utt_id in pair])
        expected = score_matrix(backend, embeddings)[0, 1]
        assert score == pytest.approx(expected, rel=1e-3, abs=1e-3)
    num_speakers = len({row.spk_id for row in rows})
    assert report["scoring"] == (
        "PLDA log-likelihood ratio (LDA to 6, rank 4, 10 steps), of "
        f"{len(rows)} training utterances of {num_speakers} speakers"
    )


def test_plda_s_scores_are_normalised_by_plda_s_scores(
    corpus, trained, tmp_path
):
    plain = run_verify(corpus, trained / "model", tmp_path / "a", *PLDA)
    normed = run_verify(
        *(corpus, trained / "model", tmp_path / "b", *PLDA),
        "--normalisation=!ref <s_norm>",
    )
    assert plain["score_normalisation"] == "none"
    assert normed["score_normalisation"].startswith("s-norm, cohort of ")
    plain, normed = (
        read_scores(tmp_path / name / "scores.txt")[1] for name in "ab"
    )
    assert np.corrcoef(plain, normed)[0, 1] > 0.5
    assert abs(np.mean(normed)) < 3  # deviations from the cohort's


def test_sizes_that_the_training_cannot_fill_are_named(
    corpus, trained, tmp_path
):
    with pytest.raises(ValueError, match=r"lda_size \(99\) must be"):
        run_verify(
            *(corpus, trained / "model", tmp_path / "out", *PLDA),
            "--lda_size=99",
        )
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def calibrated(corpus, trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated") / "verification"
    run_verify(corpus, trained / "model", folder, CALIBRATED, QUALITY)
    return folder


def test_calibration_is_learnt_on_development_trials_alone(
    corpus, trained, embedded, calibrated
):
    """Scores, quality and regression again, one trial after another."""
    measures = LogDuration(), LogNorm(), SignalToNoise()

    def columns(trials):
        rows = []
        for pair in pair_up(trials):
            (left, one), (right, two) = (embedded[utt_id] for utt_id in pair)
            row = [float(torch.cosine_similarity(one, two, dim=0))]
            for measure in measures:
                row.append(
                    (measure(left, 16000, one) + measure(right, 16000, two)) / 2
                )
            rows.append(row)
        return np.array(rows)

    dev = read_trials(trained / "save" / "dev_trials.txt")
    calibration = LogisticCalibration(0.01)
    calibration.fit(columns(dev), dev.is_target)
    trials, scores = read_scores(calibrated / "scores.txt")
    plain = columns(trials)
    np.testing.assert_allclose(scores, calibration(plain), atol=0.02)
    report = json.loads((calibrated / "report.json").read_text())
    said = report["calibration"]
    assert list(said["weights"]) == [
        *("score", "log duration", "log embedding norm", "SNR estimate")
    ]
    assert said["trials"] == "dev_trials.txt"
    assert said["num_trials"] == len(dev.enrol) != report["num_trials"]
    before, after = plain[:, 0], scores
    for when, values in (("before", before), ("after", after)):
        assert said["cllr"][when] == pytest.approx(
            cllr(values, trials.is_target), abs=1e-3
        )
        assert said["actual_dcf_0.01"][when] == pytest.approx(
            actual_dcf(values, trials.is_target, 0.01), abs=1e-3
        )
    dev_scores = read_scores(calibrated / "development_scores.txt")
    np.testing.assert_allclose(
        dev_scores[1], calibration(columns(dev)), atol=0.02
    )


def test_the_summary_has_cllr_and_actual_cost(
    corpus, trained, tmp_path, capsys
):
    report = run_verify(corpus, trained / "model", tmp_path, CALIBRATED)
    shown = capsys.readouterr().out
    before, after = report["calibration"]["cllr"].values()
    assert f"Cllr before {before:.3f}, after {after:.3f}" in shown
    num_trials = report["calibration"]["num_trials"]
    assert f"learnt on {num_trials} trials of dev_trials.txt" in shown


def test_without_a_measure_calibration_keeps_the_order(
    corpus, trained, verified, tmp_path
):
    run_verify(corpus, trained / "model", tmp_path, CALIBRATED)
    llrs = read_scores(tmp_path / "scores.txt")[1]
    plain = read_scores(verified / "scores.txt")[1]
    np.testing.assert_array_equal(np.argsort(llrs), np.argsort(plain))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([QUALITY], "--quality_measures has no effect without a calibration"),
        (
            [CALIBRATED, "--dev_trials=nowhere.txt"],
            r"nowhere\.txt is missing: calibration is learnt on the develop",
        ),
        ([CALIBRATED, "--p_target=1"], r"p_target \(1\) must lie between"),
    ],
)
def test_a_calibration_that_cannot_be_is_named(
    corpus, trained, tmp_path, overrides, message
):
    with pytest.raises(ValueError, match=message):
        run_verify(corpus, trained / "model", tmp_path / "out", *overrides)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["in the test", "trained on"])
def test_calibration_is_learnt_on_other_speakers(
    corpus, trained, tmp_path, kind
):
    name = "train.csv" if kind == "trained on" else "dev.csv"
    rows = list(Manifest(trained / "save" / name, corpus))
    if kind == "in the test":
        found = sorted(find_audio(corpus / "wav" / "id10270"))
        utt_ids = [utterance_id(x.split("wav/", 1)[1]) for x in found]
        utt_ids += [rows[0].utt_id]
    else:
        other = next(row for row in rows if row.spk_id != rows[0].spk_id)
        same = [row for row in rows if row.spk_id == rows[0].spk_id][:2]
        utt_ids = [*(row.utt_id for row in same), other.utt_id]
    manifest = tmp_path / "dev.csv"
    lines = [f"{x},1.0,$data_root/wav/{x}.wav,{x[:7]}" for x in utt_ids]
    manifest.write_text("\n".join(["ID,duration,wav,spk_id", *lines]) + "\n")
    trials = tmp_path / "dev_trials.txt"
    first, second, last = utt_ids[0], utt_ids[1], utt_ids[-1]
    trials.write_text(f"1 {first} {second}\n0 {first} {last}\n")
    with pytest.raises(ValueError, match=f"speakers are {kind}"):
        run_verify(
            *(corpus, trained / "model", tmp_path / "out", CALIBRATED),
            f"--dev_manifest={manifest}",
            f"--dev_trials={trials}",
        )


def test_nothing_of_an_earlier_run_is_left(corpus, trained, tmp_path):
    """A fusion must not take scores and development scores of two runs."""
    run_verify(
        *(corpus, trained / "model", tmp_path, CALIBRATED, QUALITY),
        "--page=True",
    )
    written = {path.name for path in tmp_path.iterdir()}
    assert {"development_scores.txt", "report.html"} <= written
    page = (tmp_path / "report.html").read_text()
    assert " object at 0x" not in page
    assert "log duration" in page
    run_verify(corpus, trained / "model", tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert written - left == {"development_scores.txt", "report.html"}


def test_a_second_run_embeds_only_what_is_new(
    corpus, trained, tmp_path, caplog
):
    """On another list; the scores are those without a cache."""
    text = (corpus / "meta" / "veri_test2.txt").read_text().splitlines()
    short = tmp_path / "short.txt"
    short.write_text("\n".join(text[:10]) + "\n")
    cached = f"--cache_folder={tmp_path / 'cache'}"
    caplog.set_level("INFO")

    def run(name, *overrides):
        caplog.clear()
        run_verify(corpus, trained / "model", tmp_path / name, *overrides)
        lines = [x for x in caplog.messages if "embeddings are in" in x]
        return lines, read_scores(tmp_path / name / "scores.txt")[1]

    lines, _ = run("first", cached, f"--trials={short}")
    assert len(lines) == 1
    assert lines[0].startswith("0 of ")
    num_short = int(lines[0].split()[2])
    lines, scores = run("second", cached)
    assert lines[0].startswith(f"{num_short} of ")
    num_all = int(lines[0].split()[2])
    assert num_all > num_short
    lines, again = run("third", cached)
    assert lines[0].startswith(f"{num_all} of {num_all} ")
    np.testing.assert_array_equal(again, scores)
    lines, plain = run("plain")
    assert lines == []
    np.testing.assert_allclose(scores, plain, atol=1e-5)


def test_a_packed_corpus_is_embedded_once_too(corpus, trained, tmp_path):
    """Its files are no files: their samples are what counts."""
    pack.main([str(corpus), str(tmp_path / "data.packed")])
    cached = f"--cache_folder={tmp_path / 'cache'}"

    def run(name):
        run_verify(
            *(tmp_path / "data.packed", trained / "model", tmp_path / name),
            cached,
        )
        (path,) = (tmp_path / "cache").iterdir()
        return read_scores(tmp_path / name / "scores.txt")[1], path.stat()

    first, written = run("first")
    second, left = run("second")
    assert (first == second).all()
    assert written.st_mtime_ns == left.st_mtime_ns  # nothing was new
    run_verify(corpus, trained / "model", tmp_path / "plain")
    plain = read_scores(tmp_path / "plain" / "scores.txt")[1]
    np.testing.assert_allclose(first, plain, atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--top_k=5"], "--top_k has no effect without a normalisation"),
        (["--cohort_size=5"], "--cohort_size has no effect without normalis"),
        (["--lda_size=5"], "--lda_size has no effect on cosines"),
        (["--p_target=0.1"], "--p_target has no effect without a calibration"),
        (["--audio_list=a.txt"], "--audio_list has no effect without --extr"),
        ([*PLDA, "--centre=True"], "PLDA centres by itself"),
        (["--num_resamples=0"], r"num_resamples \(0\) must be positive"),
        (
            ["--scores=a.txt", CALIBRATED],
            "--calibration has no effect on given --scores",
        ),
        (
            ["--extract_to=a.npz", "--centre=True"],
            "--centre has no effect on embeddings",
        ),
    ],
)
def test_settings_without_effect_are_refused_at_once(
    corpus, trained, tmp_path, overrides, message
):
    with pytest.raises(ValueError, match=message):
        run_verify(corpus, trained / "model", tmp_path / "out", *overrides)
    assert not (tmp_path / "out").exists()


def test_a_label_that_contradicts_its_names_is_named(corpus, trained, tmp_path):
    lines = (corpus / "meta" / "veri_test2.txt").read_text().splitlines()
    lines[4] = f"{1 - int(lines[4][0])}{lines[4][1:]}"
    path = tmp_path / "mine.txt"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"mine\.txt:5: .* are labelled as"):
        run_verify(
            corpus, trained / "model", tmp_path / "out", f"--trials={path}"
        )
    assert not (tmp_path / "out").exists()


def test_a_cohort_is_drawn_under_its_key(corpus, trained):
    with pytest.raises(ValueError, match=r"plda_size \(1\) must be 2"):
        draw_training(
            *(trained / "save" / "train.csv", corpus, "plda_size", 1, 1, set())
        )
