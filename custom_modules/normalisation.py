"""Normalise the scores of trials by those against a cohort.

A cohort is a set of embeddings of other speakers, such as the training's.
What an utterance scores against it is measured once for each utterance, not
once for each of its trials: :func:`cohort_statistics`, then :func:`z_norm`,
:func:`t_norm` or :func:`s_norm`, or the adaptive s-norm, which is s-norm with
statistics of each utterance's ``top_k`` nearest cohort members. Definitions
as in Matějka et al., https://doi.org/10.21437/Interspeech.2017-803.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from custom_modules.scoring import UtteranceIndex, unit_embeddings

CHUNK = 128  # utterances; with a cohort of 20,000 their scores take 10 MB
ROUNDING = 1e-6  # of a cosine in float32, and more


class CohortStatistics(NamedTuple):
    """What each utterance scores against the cohort.

    Arguments
    ---------
    mean : np.ndarray
        float64 (utterances,).
    deviation : np.ndarray
        float64 (utterances,), of the sample (divided by n - 1), positive.
    """

    mean: np.ndarray
    deviation: np.ndarray


def check_top_k(top_k: int | None, cohort_size: int) -> None:
    """Refuse a cohort that is too small, before anything is embedded.

    Arguments
    ---------
    top_k : int | None
        Of :func:`cohort_statistics`.
    cohort_size : int
        Members.

    Raises
    ------
    ValueError
        Where there are fewer than two, or than `top_k`.

    Example
    -------
    >>> check_top_k(300, cohort_size=2000)
    """
    if not 2 <= (cohort_size if top_k is None else top_k) <= cohort_size:
        raise ValueError(
            f"top_k ({top_k}) must be from 2 to the size of the cohort "
            f"({cohort_size}): choose another, or a larger cohort"
        )


def statistics_of_highest(scores: np.ndarray, size: int) -> CohortStatistics:
    """Mean and deviation of the highest scores of each row.

    Arguments
    ---------
    scores : np.ndarray
        (utterances, members), reordered in place.
    size : int
        How many are the highest, from 2 to all.

    Returns
    -------
    statistics : CohortStatistics
        One entry for each row.

    Example
    -------
    >>> statistics_of_highest(np.array([[0.0, 1.0, -1.0]]), 2).mean
    array([0.5])
    """
    # Half the time of topk: within the highest there is no order.
    scores.partition(scores.shape[1] - size, axis=1)
    highest = scores[:, scores.shape[1] - size :].astype(np.float64)
    return CohortStatistics(highest.mean(axis=1), highest.std(axis=1, ddof=1))


def cohort_statistics(
    embeddings: Tensor, cohort: Tensor, top_k: int | None = None
) -> CohortStatistics:
    """Mean and deviation of each utterance's cosines with the cohort.

    Cosines in float32, their statistics in float64.

    Arguments
    ---------
    embeddings : Tensor
        (utterances, emb_dim), finite.
    cohort : Tensor
        (members, emb_dim), finite; of speakers that are in no trial.
    top_k : int | None
        Count the highest cosines alone, at least 2; None is all.

    Returns
    -------
    statistics : CohortStatistics
        One entry for each utterance, depending on no other.

    Raises
    ------
    ValueError
        Where `top_k` is below 2 or more than the cohort has, an embedding is
        not finite or all zero, or an utterance scores the same with all.

    Example
    -------
    >>> cohort = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    >>> cohort_statistics(torch.tensor([[2.0, 0.0]]), cohort, top_k=2)
    CohortStatistics(mean=array([0.5]), deviation=array([0.70710678]))
    """
    check_top_k(top_k, len(cohort))
    size = len(cohort) if top_k is None else top_k
    embeddings, cohort = (
        unit_embeddings(part).float() for part in (embeddings, cohort)
    )
    means, deviations = np.empty((2, len(embeddings)))
    own = threading.local()  # a buffer for each core

    def summarise(start: int) -> None:
        if not hasattr(own, "cosines"):
            own.cosines = torch.empty(CHUNK, len(cohort))
        chunk = embeddings[start : start + CHUNK]
        cosines = own.cosines[: len(chunk)]
        torch.mm(chunk, cohort.T, out=cosines)
        rows = slice(start, start + CHUNK)
        means[rows], deviations[rows] = statistics_of_highest(
            cosines.numpy(), size
        )

    with ThreadPoolExecutor(
        torch.get_num_threads(),
        initializer=torch.set_num_threads,
        initargs=(1,),
    ) as pool:  # NumPy partitions on one core
        list(pool.map(summarise, range(0, len(embeddings), CHUNK)))
    same = np.flatnonzero(deviations < ROUNDING)
    if same.size:
        raise ValueError(
            f"{same.size} of {len(embeddings)} embeddings score the same with "
            f"every one of {size} cohort members, the first at index "
            f"{same[0]}: the cohort needs different utterances"
        )
    return CohortStatistics(means, deviations)


def _normalised(
    scores: ArrayLike, statistics: CohortStatistics, utterances: ArrayLike
) -> np.ndarray:
    mean, deviation = (column[utterances] for column in statistics)
    return (np.asarray(scores, dtype=np.float64) - mean) / deviation


def z_norm(
    scores: ArrayLike, statistics: CohortStatistics, enrol: ArrayLike
) -> np.ndarray:
    """``(score - mean) / deviation``, with the enrolled utterance's.

    Arguments
    ---------
    scores : ArrayLike
        (trials,).
    statistics : CohortStatistics
        Of all utterances.
    enrol : ArrayLike
        Places of the enrolled utterances in the statistics (trials,), int.

    Returns
    -------
    scores : np.ndarray
        float64 (trials,).

    Example
    -------
    >>> statistics = CohortStatistics(np.array([0.5]), np.array([0.25]))
    >>> z_norm([1.0], statistics, [0])
    array([2.])
    """
    return _normalised(scores, statistics, enrol)


def t_norm(
    scores: ArrayLike, statistics: CohortStatistics, test: ArrayLike
) -> np.ndarray:
    """``(score - mean) / deviation``, with the tested utterance's.

    Arguments
    ---------
    scores : ArrayLike
        (trials,).
    statistics : CohortStatistics
        Of all utterances.
    test : ArrayLike
        Places of the tested utterances in the statistics (trials,), int.

    Returns
    -------
    scores : np.ndarray
        float64 (trials,).

    Example
    -------
    >>> statistics = CohortStatistics(np.array([0.5]), np.array([0.25]))
    >>> t_norm([0.0], statistics, [0])
    array([-2.])
    """
    return _normalised(scores, statistics, test)


def s_norm(
    scores: ArrayLike,
    statistics: CohortStatistics,
    enrol: ArrayLike,
    test: ArrayLike,
) -> np.ndarray:
    """The mean of z-norm and t-norm.

    Adaptive where the statistics are of the `top_k` highest cosines.

    Arguments
    ---------
    scores : ArrayLike
        (trials,).
    statistics : CohortStatistics
        Of all utterances.
    enrol, test : ArrayLike
        Places of the utterances in the statistics (trials,), int.

    Returns
    -------
    scores : np.ndarray
        float64 (trials,).

    Example
    -------
    >>> statistics = CohortStatistics(np.array([0.5, 0.0]), np.array([0.25, 1]))
    >>> s_norm([1.0], statistics, [0], [1])
    array([1.5])
    """
    return (
        _normalised(scores, statistics, enrol)
        + _normalised(scores, statistics, test)
    ) / 2


class CohortNormalisation:
    """Z-, t- or s-norm of the scores of trials, as YAML chooses it.

    Arguments
    ---------
    kind : str
        "z", by the enrolled utterance's statistics; "t", by the tested one's;
        "s", the mean of both.
    top_k : int | None
        Of the statistics: the highest cosines alone, which makes the s-norm
        adaptive; None counts the whole cohort.

    Raises
    ------
    ValueError
        For another kind.

    Example
    -------
    >>> normalise = CohortNormalisation("s", top_k=2)
    >>> embeddings = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> cohort = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    >>> index = UtteranceIndex(["a", "b"], np.array([0]), np.array([1]))
    >>> normalise([0.5], index, embeddings, cohort).round(3), str(normalise)
    (array([-1.707]), 's-norm, top 2')
    """

    def __init__(self, kind: str, top_k: int | None = None):
        if kind not in ("z", "t", "s"):
            raise ValueError(f"kind ({kind!r}) must be 'z', 't' or 's'")
        self.kind = kind
        self.top_k = top_k

    def __str__(self) -> str:
        highest = "" if self.top_k is None else f", top {self.top_k}"
        return f"{self.kind}-norm{highest}"

    def __call__(
        self,
        scores: ArrayLike,
        index: UtteranceIndex,
        embeddings: Tensor,
        cohort: Tensor,
        measure: Callable[
            [Tensor, Tensor, int | None], CohortStatistics
        ] = cohort_statistics,
    ) -> np.ndarray:
        """Normalise the scores of trials.

        Arguments
        ---------
        scores : ArrayLike
            (trials,), of the kind that `measure` measures.
        index : UtteranceIndex
            Places of the trials' utterances in the embeddings.
        embeddings : Tensor
            (utterances, emb_dim).
        cohort : Tensor
            (members, emb_dim).
        measure : Callable
            What gives the statistics of embeddings, cohort and `top_k`: of
            cosines, or a back-end's `cohort_statistics`.

        Returns
        -------
        scores : np.ndarray
            float64 (trials,).
        """
        statistics = measure(embeddings, cohort, self.top_k)
        if self.kind == "z":
            return z_norm(scores, statistics, index.enrol)
        if self.kind == "t":
            return t_norm(scores, statistics, index.test)
        return s_norm(scores, statistics, index.enrol, index.test)
