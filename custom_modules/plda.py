"""Scores of i-vectors or other embeddings by SpeechBrain's PLDA.

After LDA and length normalisation, as in
Garcia-Romero and Espy-Wilson, "Analysis of i-vector length normalization in
speaker recognition systems", Interspeech 2011. Everything here is float64.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from speechbrain.processing.PLDA_LDA import (
    LDA,
    PLDA,
    Ndx,
    StatObject_SB,
    fast_PLDA_scoring,
)
from torch import Tensor

from custom_modules.scoring import Trials, index_utterances


class Backend(NamedTuple):
    """What was estimated on the training speakers' i-vectors.

    Arguments
    ---------
    mean : np.ndarray
        (ivector_size,), of all of them.
    projection : np.ndarray
        (ivector_size, lda_size), LDA.
    plda : PLDA
        Of centred and projected i-vectors of length one.
    """

    mean: np.ndarray
    projection: np.ndarray
    plda: PLDA


def check_sizes(
    ivector_size: int,
    lda_size: int,
    plda_rank: int,
    num_speakers: int,
    num_utterances: int,
) -> None:
    """Refuse sizes that the training data cannot fill.

    Raises
    ------
    ValueError
        Names the keys, what was given and what is possible.

    Example
    -------
    >>> check_sizes(8, 6, 4, num_speakers=10, num_utterances=40)
    """
    largest = min(ivector_size, num_speakers - 1)
    if not 1 <= plda_rank <= lda_size <= largest:
        raise ValueError(
            f"plda_rank ({plda_rank}) and lda_size ({lda_size}) must be 1 <= "
            f"plda_rank <= lda_size <= {largest}, the smaller of ivector_size "
            f"({ivector_size}) and the number of training speakers less one "
            f"({num_speakers - 1}): lower --lda_size and --plda_rank"
        )
    if ivector_size > num_utterances - num_speakers:
        raise ValueError(
            f"ivector_size ({ivector_size}) must be at most the number of "
            f"training utterances less that of their speakers "
            f"({num_utterances} - {num_speakers}), for LDA needs a covariance "
            "within speakers: lower --ivector_size, or add utterances"
        )


def train_backend(
    ivectors: Tensor,
    speakers: Sequence[str],
    lda_size: int,
    plda_rank: int,
    plda_iterations: int,
) -> Backend:
    """Estimate LDA, then PLDA on projected i-vectors of length one.

    SpeechBrain's LDA takes eigenvectors of S_b S_w^-1 as if it were
    symmetric. Whitening by S_w before makes it so, and the LDA exact.

    Arguments
    ---------
    ivectors : Tensor
        (utterances, ivector_size).
    speakers : Sequence[str]
        Speaker of each.
    lda_size : int
        Dimensions after LDA, fewer than speakers.
    plda_rank : int
        Dimensions of the speaker subspace, at most `lda_size`.
    plda_iterations : int
        Steps of EM.

    Returns
    -------
    backend : Backend
        For `score_matrix`.

    Example
    -------
    >>> generator = torch.Generator().manual_seed(0)
    >>> voices = torch.randn(10, 1, 4, generator=generator)
    >>> noise = 0.1 * torch.randn(10, 5, 4, generator=generator)
    >>> ivectors = (voices + noise).flatten(0, 1)
    >>> speakers = [f"id{i // 5}" for i in range(50)]
    >>> backend = train_backend(ivectors, speakers, 3, 3, plda_iterations=5)
    >>> scores = score_matrix(backend, voices[:2, 0])
    >>> bool(scores[0, 0] > 0 > scores[0, 1])
    True
    """
    statistics = _stat_object(ivectors, speakers)
    mean = statistics.get_mean_stat1()
    whitening = np.linalg.inv(np.linalg.cholesky(_within(statistics))).T
    statistics.center_stat1(mean)
    statistics.rotate_stat1(whitening)
    lda = LDA()
    projected = lda.do_lda(statistics, reduced_dim=lda_size)
    projected.norm_stat1()
    plda = PLDA(rank_f=plda_rank, nb_iter=plda_iterations)
    plda.plda(projected)
    return Backend(mean, whitening @ lda.transform_mat, plda)


def score_matrix(
    backend: Backend, ivectors: Tensor, others: Tensor | None = None
) -> np.ndarray:
    """Score every i-vector against every one of others.

    Arguments
    ---------
    backend : Backend
        Trained.
    ivectors : Tensor
        (utterances, ivector_size).
    others : Tensor | None
        (others, ivector_size); None is the same ones.

    Returns
    -------
    scores : np.ndarray
        (utterances, others), PLDA's log-likelihood ratio, symmetric.
    """
    first = _projected(backend, ivectors)
    second = first if others is None else _projected(backend, others)
    # An Ndx of all pairs; its constructor would loop over them in Python.
    ndx = Ndx()
    ndx.modelset, ndx.segset = first.modelset, second.segset
    plda = backend.plda
    return fast_PLDA_scoring(
        *(first, second, ndx),
        *(plda.mean, plda.F, plda.Sigma),
        check_missing=False,
    ).scoremat


def score_trials(
    backend: Backend, trials: Trials, ivectors: dict[str, Tensor]
) -> np.ndarray:
    """PLDA scores (trials,) of trials whose utterances all have an i-vector."""
    index = index_utterances(trials)
    rows = torch.stack([ivectors[utt_id] for utt_id in index.utt_ids])
    return score_matrix(backend, rows)[index.enrol, index.test]


def _projected(backend: Backend, ivectors: Tensor) -> StatObject_SB:
    names = [str(row) for row in range(len(ivectors))]
    statistics = _stat_object(ivectors, names)
    statistics.center_stat1(backend.mean)
    statistics.rotate_stat1(backend.projection)
    statistics.norm_stat1()
    return statistics


def _stat_object(ivectors: Tensor, speakers: Sequence[str]) -> StatObject_SB:
    names = np.array(speakers, dtype=object)
    none = np.array([None] * len(names))
    return StatObject_SB(
        modelset=names,
        segset=names,
        start=none,
        stop=none,
        stat0=np.ones((len(names), 1)),
        stat1=ivectors.double().cpu().numpy().copy(),
    )


def _within(statistics: StatObject_SB) -> np.ndarray:
    """Mean over speakers of a speaker's covariance, as SpeechBrain's LDA."""
    vectors = statistics.stat1
    _, labels, counts = np.unique(
        statistics.modelset, return_inverse=True, return_counts=True
    )
    means = np.zeros((len(counts), vectors.shape[1]))
    np.add.at(means, labels, vectors)
    means /= counts[:, None]
    centred = vectors - means[labels]
    centred /= np.sqrt(counts[labels] * len(counts))[:, None]
    return centred.T @ centred
