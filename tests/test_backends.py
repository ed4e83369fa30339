"""Back-ends exchange one for another; PLDA's chunks change nothing."""

import numpy as np
import pytest
import torch

from custom_modules import backends
from custom_modules.backends import CosineBackend, PLDABackend
from custom_modules.normalisation import CohortNormalisation, cohort_statistics
from custom_modules.plda import score_matrix, train_backend
from custom_modules.scoring import UtteranceIndex, cosine_scores

NUM_SPEAKERS, PER_SPEAKER, SIZE = 12, 6, 5


@pytest.fixture(scope="module")
def training():
    generator = torch.Generator().manual_seed(0)
    voices = torch.randn(NUM_SPEAKERS, 1, SIZE, generator=generator)
    noise = torch.randn(NUM_SPEAKERS, PER_SPEAKER, SIZE, generator=generator)
    names = [f"id{i // PER_SPEAKER}" for i in range(NUM_SPEAKERS * PER_SPEAKER)]
    return (2 * voices + noise / 2).flatten(0, 1), names


@pytest.fixture
def plda(training):
    backend = PLDABackend(lda_size=4, plda_rank=3, plda_iterations=4)
    backend.fit(*training)
    return backend


def pairs(num_trials, num_utterances):
    rng = np.random.default_rng(0)
    return rng.integers(num_utterances, size=(2, num_trials))


def test_the_cosine_s_back_end_is_the_cosine(training):
    embeddings, _ = training
    enrol, test = pairs(50, len(embeddings))
    backend = CosineBackend()
    np.testing.assert_array_equal(
        backend.score(embeddings, enrol, test),
        cosine_scores(embeddings, enrol, test),
    )
    for found, expected in zip(
        backend.cohort_statistics(embeddings, embeddings[:7], 3),
        cohort_statistics(embeddings, embeddings[:7], 3),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("chunk", [1, 7, 512])
def test_plda_s_trials_are_entries_of_its_matrix(
    training, plda, monkeypatch, chunk
):
    monkeypatch.setattr(backends, "CHUNK", chunk)
    embeddings, names = training
    enrol, test = pairs(60, len(embeddings))
    trained = train_backend(embeddings, names, 4, 3, 4)
    expected = score_matrix(trained, embeddings)[enrol, test]
    scores = plda.score(embeddings, enrol, test)
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("top_k", [None, 4])
def test_plda_s_cohort_is_that_of_a_plain_loop(training, plda, top_k):
    embeddings, _ = training
    utterances, cohort = embeddings[:9], embeddings[20:40]
    both = torch.cat([utterances, cohort])
    found = plda.cohort_statistics(utterances, cohort, top_k)
    for row in range(9):
        scores = sorted(
            plda.score(both, [row], [9 + member])[0] for member in range(20)
        )[-top_k if top_k else 0 :]
        assert found.mean[row] == pytest.approx(np.mean(scores), abs=1e-9)
        assert found.deviation[row] == pytest.approx(
            np.std(scores, ddof=1), abs=1e-9
        )


def test_normalisation_takes_a_back_end_s_statistics(training, plda):
    embeddings, _ = training
    index = UtteranceIndex(["a", "b"], np.array([0]), np.array([1]))
    cohort = embeddings[10:30]
    scores = plda.score(embeddings[:2], [0], [1])
    mean, deviation = plda.cohort_statistics(embeddings[:2], cohort, None)
    normalised = CohortNormalisation("s")(
        scores, index, embeddings[:2], cohort, plda.cohort_statistics
    )
    assert normalised == pytest.approx(np.mean((scores - mean) / deviation))


def test_sizes_follow_from_the_training(training):
    embeddings, names = training
    assert PLDABackend().sizes(SIZE, names) == (SIZE, SIZE)
    assert PLDABackend().sizes(100, ["a", "b", "c"] * 60) == (2, 2)
    assert PLDABackend(lda_size=3).sizes(SIZE, names) == (3, 3)
    with pytest.raises(ValueError, match=r"lda_size \(6\) must be"):
        PLDABackend(lda_size=6).fit(embeddings, names)


def test_no_iteration_is_refused():
    with pytest.raises(ValueError, match=r"plda_iterations \(0\)"):
        PLDABackend(plda_iterations=0)
