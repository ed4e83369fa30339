"""Back-ends of verification: how two embeddings are scored.

Each has the same methods, so that a YAML file exchanges one for the other:
`fit` on embeddings of training speakers, `score` for trials,
`cohort_statistics` for score normalisation.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from custom_modules import normalisation
from custom_modules.normalisation import CohortStatistics
from custom_modules.plda import (
    Backend,
    check_sizes,
    score_matrix,
    train_backend,
)
from custom_modules.scoring import cosine_scores

CHUNK = 512  # trials, or utterances, of one matrix of PLDA's scores


class CosineBackend:
    """The cosine of two embeddings; nothing is learnt.

    Example
    -------
    >>> backend = CosineBackend()
    >>> embeddings = torch.tensor([[2.0, 0.0], [3.0, 4.0]])
    >>> backend.score(embeddings, [0], [1]), str(backend)
    (array([0.6]), 'cosine')
    """

    is_trained = False

    def __str__(self) -> str:
        return "cosine"

    def score(
        self, embeddings: Tensor, enrol: ArrayLike, test: ArrayLike
    ) -> np.ndarray:
        """Score trials, see :func:`custom_modules.scoring.cosine_scores`."""
        return cosine_scores(embeddings, enrol, test)

    def cohort_statistics(
        self, embeddings: Tensor, cohort: Tensor, top_k: int | None
    ) -> CohortStatistics:
        """As :func:`custom_modules.normalisation.cohort_statistics`."""
        return normalisation.cohort_statistics(embeddings, cohort, top_k)


class PLDABackend:
    """LDA, length normalisation and PLDA, by SpeechBrain.

    Arguments
    ---------
    lda_size : int | None
        Dimensions after LDA, fewer than training speakers; None is as many as
        embeddings and speakers allow.
    plda_rank : int | None
        Dimensions of the speakers' subspace; None is all that LDA leaves.
    plda_iterations : int
        Steps of EM.

    Example
    -------
    >>> generator = torch.Generator().manual_seed(0)
    >>> voices = torch.randn(10, 1, 4, generator=generator)
    >>> noise = 0.1 * torch.randn(10, 5, 4, generator=generator)
    >>> backend = PLDABackend(lda_size=3)
    >>> names = [f"id{i // 5}" for i in range(50)]
    >>> backend.fit((voices + noise).flatten(0, 1), names)
    >>> same, other = backend.score(voices[:2, 0], [0, 0], [0, 1])
    >>> bool(same > 0 > other), str(backend)
    (True, 'PLDA log-likelihood ratio (LDA to 3, rank 3, 10 steps)')
    """

    is_trained = True

    def __init__(
        self,
        lda_size: int | None = None,
        plda_rank: int | None = None,
        plda_iterations: int = 10,
    ):
        if plda_iterations < 1:
            raise ValueError(
                f"plda_iterations ({plda_iterations}) must be positive"
            )
        self.lda_size = lda_size
        self.plda_rank = plda_rank
        self.plda_iterations = plda_iterations
        self.backend: Backend | None = None

    def __str__(self) -> str:
        if self.backend is None:
            return "PLDA log-likelihood ratio"
        lda_size = self.backend.projection.shape[1]
        return (
            f"PLDA log-likelihood ratio (LDA to {lda_size}, rank "
            f"{self.backend.plda.F.shape[1]}, {self.plda_iterations} steps)"
        )

    def sizes(self, emb_dim: int, speakers: Sequence[str]) -> tuple[int, int]:
        """Dimensions of LDA and of PLDA's subspace for given training data.

        Arguments
        ---------
        emb_dim : int
            Of the embeddings.
        speakers : Sequence[str]
            Speaker of each utterance.

        Returns
        -------
        lda_size : int
        plda_rank : int

        Raises
        ------
        ValueError
            Where the training data cannot fill them.

        Example
        -------
        >>> PLDABackend().sizes(8, [f"id{i % 5}" for i in range(20)])
        (4, 4)
        """
        num_speakers = len(set(speakers))
        if emb_dim > len(speakers) - num_speakers:
            raise ValueError(
                f"PLDA of {emb_dim} dimensions needs {emb_dim} training "
                f"utterances more than speakers; there are {len(speakers)} of "
                f"{num_speakers}: take more (plda_size), or the cosine"
            )
        lda_size = self.lda_size
        if lda_size is None:
            lda_size = min(emb_dim, num_speakers - 1)
        plda_rank = lda_size if self.plda_rank is None else self.plda_rank
        check_sizes(emb_dim, lda_size, plda_rank, num_speakers, len(speakers))
        return lda_size, plda_rank

    def fit(self, embeddings: Tensor, speakers: Sequence[str]) -> None:
        """Estimate everything on embeddings (utterances, emb_dim).

        Arguments
        ---------
        embeddings : Tensor
            Of training utterances.
        speakers : Sequence[str]
            Speaker of each.

        Raises
        ------
        ValueError
            As `sizes`; where embeddings of a speaker do not differ enough.
        """
        sizes = self.sizes(embeddings.shape[1], speakers)
        try:
            self.backend = train_backend(
                embeddings, speakers, *sizes, self.plda_iterations
            )
        except np.linalg.LinAlgError as error:
            raise ValueError(
                f"the covariance of {len(speakers)} training embeddings within "
                f"their speakers has no inverse ({error}): take more "
                "utterances (plda_size), or the cosine"
            ) from error

    def score(
        self, embeddings: Tensor, enrol: ArrayLike, test: ArrayLike
    ) -> np.ndarray:
        """Score trials.

        Arguments
        ---------
        embeddings : Tensor
            (utterances, emb_dim).
        enrol, test : ArrayLike
            Rows of `embeddings` (trials,), int.

        Returns
        -------
        scores : np.ndarray
            float64 (trials,), log-likelihood ratios.
        """
        enrol, test = np.asarray(enrol), np.asarray(test)
        scores = np.empty(len(enrol))
        # By enrolled utterance: a chunk's matrix has few rows then.
        order = np.argsort(enrol, kind="stable")
        for start in range(0, len(order), CHUNK):
            chosen = order[start : start + CHUNK]
            left, row = np.unique(enrol[chosen], return_inverse=True)
            right, column = np.unique(test[chosen], return_inverse=True)
            matrix = score_matrix(
                self.backend, embeddings[left], embeddings[right]
            )
            scores[chosen] = matrix[row, column]
        return scores

    def cohort_statistics(
        self, embeddings: Tensor, cohort: Tensor, top_k: int | None
    ) -> CohortStatistics:
        """Mean and deviation of each utterance's scores with the cohort.

        Arguments
        ---------
        embeddings : Tensor
            (utterances, emb_dim).
        cohort : Tensor
            (members, emb_dim).
        top_k : int | None
            Count the highest scores alone; None is all.

        Returns
        -------
        statistics : CohortStatistics
            One entry for each utterance.
        """
        normalisation.check_top_k(top_k, len(cohort))
        size = len(cohort) if top_k is None else top_k
        parts = [
            normalisation.statistics_of_highest(
                score_matrix(self.backend, chunk, cohort), size
            )
            for chunk in torch.split(embeddings, CHUNK)
        ]
        return CohortStatistics(*map(np.concatenate, zip(*parts, strict=True)))
