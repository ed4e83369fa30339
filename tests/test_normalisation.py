"""Score normalisation against a loop over the trials."""

import numpy as np
import pytest
import torch

from custom_modules import normalisation
from custom_modules.normalisation import (
    CohortStatistics,
    cohort_statistics,
    s_norm,
    t_norm,
    z_norm,
)
from custom_modules.scoring import cosine_scores

FLOAT32 = 2e-5


@pytest.fixture
def trials():
    """Embeddings, cohort, indices of enrolled and tested ones, scores."""
    torch.manual_seed(0)
    embeddings, cohort = torch.randn(30, 8), torch.randn(50, 8)
    enrol, test = torch.randint(30, (2, 200)).numpy()
    return (
        *(embeddings, cohort, enrol, test),
        cosine_scores(embeddings, enrol, test),
    )


def by_loop(trials, top_k):
    """z-, t- and s-norm, each trial measuring its cohort scores anew."""
    embeddings, cohort, enrol, test, scores = trials
    normalised = []
    for i, j, score in zip(enrol, test, scores, strict=True):
        values = []
        for utterance in (i, j):
            cosines = torch.cosine_similarity(
                embeddings[utterance].double(), cohort.double()
            )
            cosines = np.sort(cosines.numpy())[::-1][:top_k]
            values.append((score - cosines.mean()) / cosines.std(ddof=1))
        normalised.append((*values, sum(values) / 2))
    return np.array(normalised).T


@pytest.mark.parametrize("top_k", [None, 10, 20, 50])
@pytest.mark.parametrize("chunk", [128, 7], ids=["whole", "in_parts"])
def test_scores_are_those_of_a_loop(trials, top_k, chunk, monkeypatch):
    monkeypatch.setattr(normalisation, "CHUNK", chunk)
    embeddings, cohort, enrol, test, scores = trials
    statistics = cohort_statistics(embeddings, cohort, top_k)
    given = (
        z_norm(scores, statistics, enrol),
        t_norm(scores, statistics, test),
        s_norm(scores, statistics, enrol, test),
    )
    expected = by_loop(trials, top_k)
    np.testing.assert_allclose(given, expected, rtol=FLOAT32, atol=FLOAT32)


def test_lengths_of_the_embeddings_have_no_influence(trials):
    embeddings, cohort = (trials[i].double() for i in (0, 1))
    scaled = embeddings * torch.logspace(-3, 3, 30).double().unsqueeze(1)
    for one, other in zip(
        cohort_statistics(embeddings, cohort, 5),
        cohort_statistics(scaled, 10 * cohort, 5),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, rtol=FLOAT32)


def test_adaptive_statistics_are_of_the_nearest():
    """Two of a cohort's four vectors lie near; by hand."""
    cohort = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [-1.0, 0.0]])
    statistics = cohort_statistics(torch.tensor([[1.0, 0.0]]), cohort, 2)
    assert statistics.mean == pytest.approx(0.8)
    assert statistics.deviation == pytest.approx(0.08**0.5)


@pytest.mark.parametrize("top_k", [0, 1, 51])
def test_a_cohort_that_is_too_small_is_an_error(trials, top_k):
    message = rf"top_k \({top_k}\) .* cohort \(50\)"
    with pytest.raises(ValueError, match=message):
        cohort_statistics(trials[0], trials[1], top_k)
    with pytest.raises(ValueError, match=r"cohort \(1\)"):
        cohort_statistics(trials[0], trials[1][:1])


def test_a_cohort_of_copies_is_an_error(trials):
    cohort = trials[1][:1].repeat(5, 1)
    message = "30 of 30 embeddings score the same .* different utterances"
    with pytest.raises(ValueError, match=message):
        cohort_statistics(trials[0], cohort)


def test_embeddings_that_are_not_finite_are_named(trials):
    embeddings, cohort, *_ = trials
    cohort[3, 0] = torch.nan
    with pytest.raises(ValueError, match="not finite, the first at index 3"):
        cohort_statistics(embeddings, cohort)


def test_statistics_of_zero_and_one_change_nothing():
    statistics = CohortStatistics(np.zeros(3), np.ones(3))
    scores = np.array([0.1, -0.2])
    np.testing.assert_array_equal(
        s_norm(scores, statistics, [0, 1], [2, 2]), scores
    )
