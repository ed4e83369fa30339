"""Utterances named once, and cosines."""

import time

import numpy as np
import pytest
import torch

from custom_modules import scoring
from custom_modules.scoring import (
    Trials,
    cosine_scores,
    index_utterances,
    read_trials,
)

ROUNDING = 1e-12


def test_the_index_finds_every_trials_utterances(tmp_path):
    path = tmp_path / "trials.txt"
    path.write_text("1 b/1/1.wav b/2/1.wav\n0 b/2/1.wav a/1/1.wav\n")
    trials = read_trials(path)
    utt_ids, enrol, test = index_utterances(trials)
    assert utt_ids == ["a/1/1", "b/1/1", "b/2/1"]
    assert [utt_ids[k] + ".wav" for k in enrol] == trials.enrol
    assert [utt_ids[k] + ".wav" for k in test] == trials.test


def test_names_with_and_without_suffix_are_one_utterance():
    trials = Trials(["a/1.wav", "a/1"], ["b/1", "b/1.m4a"], np.ones(2, bool))
    assert index_utterances(trials).utt_ids == ["a/1", "b/1"]


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_cosines_agree_with_a_loop_for_any_chunk(monkeypatch, chunk):
    monkeypatch.setattr(scoring, "CHUNK", chunk)
    generator = np.random.default_rng(0)
    embeddings = generator.normal(size=(9, 5))
    enrol, test = generator.integers(9, size=(2, 30))
    expected = [
        embeddings[i]
        @ embeddings[j]
        / np.linalg.norm(embeddings[i])
        / np.linalg.norm(embeddings[j])
        for i, j in zip(enrol, test, strict=True)
    ]
    scores = cosine_scores(torch.from_numpy(embeddings), enrol, test)
    np.testing.assert_allclose(scores, expected, atol=ROUNDING)


@pytest.mark.parametrize("factor", [1e-20, 1e-3, 1e15])
def test_the_length_of_an_embedding_is_irrelevant(factor):
    embeddings = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    enrol, test = [0, 1, 2], [3, 4, 5]
    np.testing.assert_allclose(
        cosine_scores(embeddings * factor, enrol, test),
        cosine_scores(embeddings, enrol, test),
        atol=1e-6,  # float32 embeddings, rounded by the factor
    )


def test_a_score_does_not_depend_on_the_other_trials():
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(50, 192, generator=generator)
    enrol, test = torch.randint(50, (2, 400), generator=generator).numpy()
    together = cosine_scores(embeddings, enrol, test)
    alone = [
        cosine_scores(embeddings, enrol[k : k + 1], test[k : k + 1]).item()
        for k in range(0, 400, 37)
    ]
    assert together[::37].tolist() == alone


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "2 of 5 embeddings are not finite, .* index 1;"),
        (float("inf"), "2 of 5 embeddings are not finite, .* index 1;"),
        (0.0, "2 of 5 embeddings are all zero, .* index 1;"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_broken_embeddings_are_counted_and_named(dtype, value, message):
    embeddings = torch.ones(5, 3, dtype=dtype)
    embeddings[[1, 4]] = value
    with pytest.raises(ValueError, match=message):
        cosine_scores(embeddings, [0], [2])


@pytest.mark.parametrize(
    ("shape", "enrol", "test", "message"),
    [
        ((5, 1, 3), [0], [1], r"got \(5, 1, 3\); .* squeeze\(1\)"),
        ((5, 3), [0, 1], [1], r"got shapes \(2,\) and \(1,\)"),
        ((5, 3), [0, -1], [1, 1], r"enrol\[1\] = -1 is no row of 5"),
        ((5, 3), [0, 1], [5, 1], r"test\[0\] = 5 is no row of 5"),
    ],
)
def test_indices_that_do_not_fit_are_refused(shape, enrol, test, message):
    with pytest.raises(ValueError, match=message):
        cosine_scores(torch.ones(shape), enrol, test)


def test_voxceleb1_is_scored_in_a_moment():
    """The aim is well under 1 s; other work may share the machine."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(4_708, 192, generator=generator)
    enrol, test = torch.randint(4_708, (2, 37_720), generator=generator)
    start = time.perf_counter()
    cosine_scores(embeddings, enrol, test)
    assert time.perf_counter() - start < 1.5
