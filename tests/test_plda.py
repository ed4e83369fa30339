"""LDA against the generalised eigenproblem, PLDA against its definition."""

import numpy as np
import pytest
import torch
from scipy import linalg

from custom_modules.plda import (
    check_sizes,
    score_matrix,
    score_trials,
    train_backend,
)
from custom_modules.scoring import Trials

NUM_SPEAKERS, PER_SPEAKER, SIZE = 30, 8, 6


def ivectors(seed=0):
    """Speakers that differ in some directions, sessions in others."""
    generator = torch.Generator().manual_seed(0)
    between = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5, 0.1, 0.1]))
    within = torch.randn(SIZE, SIZE, generator=generator) / 2
    generator.manual_seed(seed + 1)
    voices = torch.randn(NUM_SPEAKERS, 1, SIZE, generator=generator) @ between
    noise = torch.randn(NUM_SPEAKERS, PER_SPEAKER, SIZE, generator=generator)
    rows = (voices + noise @ within + 5.0).flatten(0, 1).double()
    speakers = [f"id{i // PER_SPEAKER:02d}" for i in range(len(rows))]
    return rows, speakers


def test_lda_solves_the_generalised_eigenproblem():
    """S_b v = e S_w v, which SpeechBrain's LDA alone does not solve."""
    rows, speakers = ivectors()
    backend = train_backend(rows, speakers, 3, 3, 2)
    grouped = rows.view(NUM_SPEAKERS, PER_SPEAKER, SIZE).numpy()
    means = grouped.mean(axis=1)
    centred = (grouped - means[:, None]).reshape(-1, SIZE)
    within = centred.T @ centred / len(centred)
    between = np.cov(means.T, bias=True)
    expected = linalg.eigh(between, within)[1][:, ::-1][:, :3]
    angles = linalg.subspace_angles(backend.projection, expected)
    assert angles.max() < 1e-6


def test_scores_are_likelihood_ratios_of_the_pair():
    """log N([x; y]; same speaker) - log N([x; y]; two speakers)."""
    rows, speakers = ivectors()
    backend = train_backend(rows, speakers, 4, 2, 5)
    scores = score_matrix(backend, rows[:5])
    projected = (rows[:5].numpy() - backend.mean) @ backend.projection
    projected /= np.linalg.norm(projected, axis=1, keepdims=True)
    plda = backend.plda
    between = plda.F @ plda.F.T
    total, nothing = between + plda.Sigma, 0 * between
    same = np.block([[total, between], [between, total]])
    different = np.block([[total, nothing], [nothing, total]])

    def log_density(x, covariance):
        return -0.5 * (
            np.linalg.slogdet(covariance)[1]
            + x @ np.linalg.solve(covariance, x)
        )

    for i in range(5):
        for j in range(5):
            pair = np.concatenate([projected[i], projected[j]])
            pair -= np.tile(plda.mean, 2)
            expected = log_density(pair, same) - log_density(pair, different)
            assert scores[i, j] == pytest.approx(expected, abs=1e-6)


def test_speakers_are_told_apart():
    rows, speakers = ivectors()
    backend = train_backend(rows, speakers, 4, 4, 10)
    unseen, names = ivectors(seed=1)
    scores = score_matrix(backend, unseen)
    is_same = np.equal.outer(names, names)
    np.fill_diagonal(is_same, False)
    is_other = ~np.equal.outer(names, names)
    assert np.median(scores[is_same]) > np.quantile(scores[is_other], 0.9)


def test_trials_get_their_places_in_the_matrix():
    rows, speakers = ivectors()
    backend = train_backend(rows, speakers, 3, 3, 2)
    names = ["id1/a/1", "id1/a/2", "id2/a/1"]
    trials = Trials(
        ["id2/a/1.wav", "id1/a/1"], ["id1/a/2", "id1/a/2"], np.array([0, 1])
    )
    vectors = dict(zip(names, rows, strict=False))
    scores = score_trials(backend, trials, vectors)
    matrix = score_matrix(backend, rows[:3])
    np.testing.assert_allclose(scores, [matrix[2, 1], matrix[0, 1]])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((400, 200, 200, 144, 3000), r"<= 143.*--lda_size and --plda_rank"),
        ((100, 120, 100, 144, 3000), r"<= 100.*ivector_size \(100\)"),
        ((100, 50, 60, 144, 3000), r"plda_rank \(60\) and lda_size \(50\)"),
        ((100, 50, 0, 144, 3000), r"plda_rank \(0\)"),
        ((100, 50, 50, 144, 200), r"at most.*\(200 - 144\).*--ivector_size"),
    ],
)
def test_sizes_that_the_data_cannot_fill_are_named(sizes, message):
    with pytest.raises(ValueError, match=message):
        check_sizes(*sizes)
