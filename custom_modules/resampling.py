"""Scores measured on other speakers: drawn with replacement, or left out.

Each copy of a speaker counts as a person: a non-target trial of two speakers
drawn m and n times counts m n times, a target trial m times (a copy is no
target for another copy of the same speaker; m squared would count those
pairs). Resamples without targets or without non-targets are drawn again.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Metric = Callable[..., tuple[float, float]]
MAX_GROUPS = 100  # of speakers, to be left out


class SpeakerTrials(NamedTuple):
    """Truths (trials,), and the numbers of the speakers of both sides."""

    is_target: np.ndarray
    enrol: np.ndarray
    test: np.ndarray


class Measured(NamedTuple):
    """A metric of scores, with its threshold, and of their resamples."""

    scores: np.ndarray
    metric: Metric
    value: float
    threshold: float
    resampled: np.ndarray


def _number_speakers(
    is_target: ArrayLike, enrol_speakers: ArrayLike, test_speakers: ArrayLike
) -> SpeakerTrials:
    """Numbers from 0 for the speakers of both sides, checked."""
    is_target = np.asarray(is_target).astype(bool)
    names = np.concatenate(
        [np.asarray(enrol_speakers), np.asarray(test_speakers)]
    )
    if names.shape != (2 * is_target.size,):
        raise ValueError(
            f"enrol_speakers ({len(enrol_speakers)}) and test_speakers "
            f"({len(test_speakers)}) need one entry for each of the "
            f"{is_target.size} trials"
        )
    speakers, numbers = np.unique(names, return_inverse=True)
    enrol, test = numbers.reshape(2, -1)
    wrong = np.flatnonzero(is_target != (enrol == test))
    if wrong.size:
        raise ValueError(
            f"{wrong.size} trials contradict their speakers; one is trial "
            f"{wrong[0]}, is_target = {is_target[wrong[0]]} with "
            f"{speakers[enrol[wrong[0]]]} and {speakers[test[wrong[0]]]}"
        )
    return SpeakerTrials(is_target, enrol, test)


def _draw_weights(
    is_target: np.ndarray,
    enrol: np.ndarray,
    test: np.ndarray,
    num_resamples: int,
    seed: int,
) -> Iterator[np.ndarray]:
    """How often each trial (trials,) counts, in one resample after another."""
    num_speakers = max(enrol.max(), test.max()) + 1
    generator = np.random.default_rng(seed)
    num_drawn = 0
    # One target and one non-target have three speakers at most: the worst
    # case, exactly three, draws all of them with probability 2 / 9. So this
    # ends.
    while num_drawn < num_resamples:
        draws = generator.integers(num_speakers, size=num_speakers)
        counts = np.bincount(draws, minlength=num_speakers)
        weights = np.where(is_target, 1, counts[test]) * counts[enrol]
        drawn_targets = np.count_nonzero(weights[is_target])
        if drawn_targets in (0, np.count_nonzero(weights)):
            continue
        num_drawn += 1
        yield weights


def resample(
    systems: list[tuple[ArrayLike, Metric]],
    is_target: ArrayLike,
    enrol_speakers: ArrayLike,
    test_speakers: ArrayLike,
    num_resamples: int,
    seed: int,
) -> tuple[list[Measured], SpeakerTrials]:
    """Measure scores by metrics, on the trials and on the same resamples.

    Arguments
    ---------
    systems : list[tuple[ArrayLike, Metric]]
        Scores (trials,) and what measures them.
    is_target : ArrayLike
        (trials,) bool, or 0 and 1.
    enrol_speakers, test_speakers : ArrayLike
        The speakers of each trial (trials,).
    num_resamples : int
        Draws, positive.
    seed : int
        Of the draws.

    Returns
    -------
    measured : list[Measured]
        Of each system.
    trials : SpeakerTrials
        Their speakers as numbers.

    Raises
    ------
    ValueError
        As the metrics, and where the speakers contradict `is_target`.

    Example
    -------
    >>> def metric(scores, is_target, weights):
    ...     return float(weights.max()), 0.0
    >>> systems = [([0.9, 0.1], metric)]
    >>> measured, _ = resample(systems, [1, 0], ["a", "a"], ["a", "b"], 3, 0)
    >>> measured[0].resampled  # both speakers, or it is drawn again
    array([1., 1., 1.])
    """
    if num_resamples < 1:
        raise ValueError(f"num_resamples ({num_resamples}) must be positive")
    # The metric checks scores and truths.
    found = [
        metric(scores, is_target, weights=np.ones(len(scores)))
        for scores, metric in systems
    ]
    trials = _number_speakers(is_target, enrol_speakers, test_speakers)
    measured = [
        Measured(
            np.asarray(scores, dtype=np.float64),
            metric,
            *value_and_threshold,
            np.empty(num_resamples),
        )
        for (scores, metric), value_and_threshold in zip(
            systems, found, strict=True
        )
    ]
    # Sorted once here, every metric's own sort takes linear time.
    orders = [np.argsort(one.scores, kind="stable") for one in measured]
    for number, weights in enumerate(
        _draw_weights(*trials, num_resamples, seed)
    ):
        for one, order in zip(measured, orders, strict=True):
            drawn = order[weights[order] > 0]
            one.resampled[number], _ = one.metric(
                one.scores[drawn],
                trials.is_target[drawn],
                weights=weights[drawn],
            )
    return measured, trials


def leave_out(
    scores: np.ndarray,
    is_target: np.ndarray,
    enrol: np.ndarray,
    test: np.ndarray,
    metric: Metric,
) -> np.ndarray:
    """Measure scores without one speaker after the other.

    Of many speakers without one group after the other, of like size: the
    jackknife's spread is the same, and its time does not grow with the square
    of the speakers.

    Arguments
    ---------
    scores : np.ndarray
        (trials,).
    is_target, enrol, test : np.ndarray
        Of `SpeakerTrials`.
    metric : Metric
        What measures.

    Returns
    -------
    values : np.ndarray
        (speakers or groups,), without those whose absence would leave no
        targets, or no non-targets.

    Example
    -------
    >>> enrol, test = np.array([0, 1, 2, 0, 1]), np.array([0, 1, 2, 1, 2])
    >>> def count(scores, is_target, weights):
    ...     return float(weights.sum()), 0.0
    >>> leave_out(np.zeros(5), enrol == test, enrol, test, count)
    array([3., 3.])
    """
    values = []
    num_groups = min(max(enrol.max(), test.max()) + 1, MAX_GROUPS)
    enrol, test = enrol % num_groups, test % num_groups
    for group in range(num_groups):
        kept = (enrol != group) & (test != group)
        targets = np.count_nonzero(is_target[kept])
        if targets not in (0, np.count_nonzero(kept)):
            weights = np.ones(np.count_nonzero(kept))
            value, _ = metric(scores[kept], is_target[kept], weights=weights)
            values.append(value)
    return np.array(values)
