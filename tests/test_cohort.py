"""Scores against a cohort of training speakers, by the command."""

import json
import re

import numpy as np
import pytest
import torch
from audio_files import find_audio
from cohort import cohort_matrix, draw_training
from extraction import load_model
from manifest import Manifest
from recipe_commands import run_verify

from custom_modules.audio import read_audio
from custom_modules.scoring import read_scores


@pytest.fixture(scope="module")
def unit(corpus, trained):
    """Unit embeddings of all files, one at a time, by SpeechBrain's inference.

    By speaker/session/utterance.
    """
    model, _ = load_model(trained / "model", "hyperparams.yaml")
    embeddings = {}
    for path in find_audio(corpus / "wav"):
        wav = read_audio(path, 16000).unsqueeze(0)
        embedding = model.encode_batch(wav).squeeze().double()
        utt_id = re.search(r"wav/(.+)\.wav", path)[1]
        embeddings[utt_id] = embedding
    return embeddings


def plain_scores(trials, embeddings, cohort, kind, top_k):
    """A loop over trials, each with statistics of its own."""

    def cosine(a, b):
        return float(torch.cosine_similarity(a, b, dim=0))

    def standardised(score, utt_id):
        against = sorted(cosine(embeddings[utt_id], m) for m in cohort)
        highest = against[-top_k:] if top_k else against
        return (score - np.mean(highest)) / np.std(highest, ddof=1)

    scores = []
    for enrol, test in zip(trials.enrol, trials.test, strict=True):
        enrol, test = enrol.removesuffix(".wav"), test.removesuffix(".wav")
        score = cosine(embeddings[enrol], embeddings[test])
        both = [standardised(score, utt_id) for utt_id in (enrol, test)]
        scores.append({"z": both[0], "t": both[1], "s": sum(both) / 2}[kind])
    return scores


@pytest.mark.parametrize(
    ("kind", "top_k", "of_speakers", "centre"),
    [
        ("z", None, False, False),
        ("t", None, True, False),
        ("s", None, False, True),
        ("s", 5, False, False),
        ("s", 5, True, True),
    ],
)
def test_the_command_s_scores_are_those_of_a_plain_loop(
    corpus, trained, unit, tmp_path, kind, top_k, of_speakers, centre
):
    report = run_verify(
        corpus,
        trained / "model",
        tmp_path,
        f"--normalisation=!ref <{kind}_norm>",
        f"--top_k={top_k or 'null'}",
        f"--cohort_speaker_means={of_speakers}",
        f"--centre={centre}",
        "--cohort_size=null",
    )
    trials, scores = read_scores(tmp_path / "scores.txt")
    rows = list(Manifest(trained / "save" / "train.csv", corpus))
    embeddings = unit
    if centre:  # on the mean of the utterances, whatever the members are
        mean = torch.stack([unit[row.utt_id] for row in rows]).mean(0)
        embeddings = {key: value - mean for key, value in unit.items()}
    members = {row.utt_id: embeddings[row.utt_id] for row in rows}
    cohort = list(members.values())
    if of_speakers:
        speakers = sorted({row.spk_id for row in rows})
        cohort = [
            torch.stack(
                [
                    members[row.utt_id] / members[row.utt_id].norm()
                    for row in rows
                    if row.spk_id == speaker
                ]
            ).mean(0)
            for speaker in speakers
        ]
    expected = plain_scores(trials, embeddings, cohort, kind, top_k)
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=2e-3)
    size = len(cohort)
    what = "speakers" if of_speakers else "utterances"
    highest = f", top {top_k}" if top_k else ""
    assert report["score_normalisation"] == (
        f"{kind}-norm{highest}, cohort of {size} {what} of the training"
    )
    assert report["scoring"] == ("cosine, centred" if centre else "cosine")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["--top_k=1000"], r"top_k \(1000\) must be from 2 to the size of"),
        (["--cohort_size=1"], r"cohort_size \(1\) must be 2 or more"),
        (["--train_manifest=nowhere.csv"], r"nowhere\.csv: cannot be read"),
    ],
)
def test_a_cohort_that_does_not_do_is_named(
    corpus, trained, tmp_path, overrides, message
):
    with pytest.raises(ValueError, match=message):
        run_verify(
            corpus,
            trained / "model",
            tmp_path / "out",
            "--normalisation=!ref <s_norm>",
            *overrides,
        )
    assert not (tmp_path / "out").exists()


def test_speakers_of_the_trials_are_no_cohort(corpus, trained, tmp_path):
    manifest = tmp_path / "train.csv"
    text = (trained / "save" / "train.csv").read_text()
    name = "id10270/s/1"
    row = f"{name},1.0,$data_root/wav/{name}.wav,id10270"
    manifest.write_text(f"{text}{row}\n")
    with pytest.raises(ValueError, match=r"in the trials \(id10270\): a"):
        run_verify(
            corpus,
            trained / "model",
            tmp_path / "out",
            "--centre=True",
            f"--train_manifest={manifest}",
        )


def test_a_cohort_is_drawn_by_seed(corpus, trained):
    path = trained / "save" / "train.csv"
    first, again, other = (
        draw_training(path, corpus, "cohort_size", 20, seed, set())
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(first.files) == len(first.speakers) == 20
    everything = draw_training(path, corpus, "cohort_size", 10**6, 1, set())
    assert everything == draw_training(
        path, corpus, "cohort_size", None, 1, set()
    )


def test_a_speaker_s_mean_is_of_unit_embeddings():
    embeddings = {
        "a/1": torch.tensor([2.0, 0.0]),
        "b/1": torch.tensor([0.0, 5.0]),
        "a/2": torch.tensor([0.0, 3.0]),
    }
    speakers = {utt_id: utt_id[0] for utt_id in embeddings}
    means = cohort_matrix(embeddings, speakers, is_of_speakers=True)
    assert means.tolist() == [[0.5, 0.5], [0.0, 1.0]]
    assert len(cohort_matrix(embeddings, speakers, False)) == 3


def test_a_speaker_s_mean_is_in_the_space_of_the_back_end():
    """PLDA takes embeddings as they are; a mean far from 0 must not stay."""
    embeddings = {
        "a/1": torch.tensor([9.0, 2.0]),
        "a/2": torch.tensor([13.0, 0.0]),
    }
    speakers = dict.fromkeys(embeddings, "a")
    raw = cohort_matrix(embeddings, speakers, True, is_of_units=False)
    assert raw.tolist() == [[11.0, 1.0]]
    mean = torch.tensor([9.0, 0.0])
    centred = cohort_matrix(embeddings, speakers, True, mean)
    assert centred.tolist() == [[0.5, 0.5]]


def test_without_normalisation_no_cohort_is_read(corpus, trained, tmp_path):
    run_verify(
        corpus, trained / "model", tmp_path, "--train_manifest=nowhere.csv"
    )
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["score_normalisation"] == "none"
