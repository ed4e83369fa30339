"""Error rates of speaker verification, and how sure they are.

Conventions
-----------
A trial has a score, larger where the voices are more alike, and a truth:
target (one speaker) or not. A trial is accepted where
``score >= threshold``. *Miss* is the fraction of the targets rejected,
*false alarm* the fraction of the non-targets accepted. Trials of one score
are accepted or rejected together. Weights count trials: a weight of 2 is a
trial that stands twice in the list, a weight of 0 one that is not in it.

Metrics
-------
* :func:`det_curve`: miss and false alarm at every threshold
* :func:`equal_error_rate`: where the two are equal
* :func:`min_dcf`: the cost of NIST's evaluations at its best threshold
* :func:`speaker_bootstrap`: the 95 % interval of either
* :func:`speaker_intervals`: those of several, on the same resamples
* :func:`compare_systems`: two systems on the same trials, their difference
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from custom_modules.bootstrap import (
    Comparison,
    compare_systems,
    speaker_bootstrap,
    speaker_intervals,
)
from custom_modules.intervals import Estimate

__all__ = [
    "Comparison",
    "DetCurve",
    "Estimate",
    "compare_systems",
    "det_curve",
    "equal_error_rate",
    "min_dcf",
    "speaker_bootstrap",
    "speaker_intervals",
]


class DetCurve(NamedTuple):
    """Miss and false alarm rates (points,) at ascending thresholds."""

    miss: np.ndarray
    false_alarm: np.ndarray
    thresholds: np.ndarray


def _checked(
    scores: ArrayLike, is_target: ArrayLike, weights: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores, truths and weights as arrays, without trials of weight 0."""
    scores = np.asarray(scores, dtype=np.float64)
    is_target = np.asarray(is_target)
    weights = np.ones(scores.shape) if weights is None else weights
    weights = np.asarray(weights, dtype=np.float64)
    if scores.ndim != 1 or not (
        scores.shape == is_target.shape == weights.shape
    ):
        raise ValueError(
            "scores, is_target and weights need one entry per trial, but "
            f"have shapes {scores.shape}, {is_target.shape}, {weights.shape}"
        )
    if not scores.size:
        raise ValueError("there are no trials; give at least two, one of each")
    invalid = np.flatnonzero(~np.isfinite(scores))
    if invalid.size:
        raise ValueError(
            f"{invalid.size} of {scores.size} scores are not finite, the "
            f"first is scores[{invalid[0]}] = {scores[invalid[0]]}; check "
            "the embeddings of that trial"
        )
    if is_target.dtype != bool:
        if not np.isin(is_target, (0, 1)).all():
            raise ValueError(
                "is_target must be boolean or hold 0 and 1 alone, got "
                f"{np.unique(is_target)[:5].tolist()}"
            )
        is_target = is_target.astype(bool)
    if not (np.isfinite(weights).all() and weights.min() >= 0):
        raise ValueError("weights must be finite and not negative")
    if not weights.all():
        counted = weights > 0
        scores, is_target, weights = (
            array[counted] for array in (scores, is_target, weights)
        )
    targets = np.count_nonzero(is_target)
    if targets in (0, scores.size):
        raise ValueError(
            f"{targets} of {scores.size} trials (of weight above 0) are "
            "targets; give at least one target and one non-target"
        )
    return scores, is_target, weights


def det_curve(
    scores: ArrayLike, is_target: ArrayLike, weights: ArrayLike | None = None
) -> DetCurve:
    """Compute miss and false alarm rates at every threshold.

    Arguments
    ---------
    scores : ArrayLike
        Finite scores (trials,).
    is_target : ArrayLike
        (trials,) bool, or 0 and 1.
    weights : ArrayLike | None
        How often each trial counts (trials,), not negative; None is once.

    Returns
    -------
    curve : DetCurve
        `miss` rising from 0 to 1, `false_alarm` falling from 1 to 0, and
        `thresholds`: every distinct score, then inf, which rejects all.

    Raises
    ------
    ValueError
        Where the trials are none, of one class, of unequal lengths, or
        have scores that are not finite.

    Example
    -------
    >>> curve = det_curve([0.1, 0.4, 0.4, 0.9], [0, 0, 1, 1])
    >>> curve.thresholds
    array([0.1, 0.4, 0.9, inf])
    >>> curve.miss
    array([0. , 0. , 0.5, 1. ])
    >>> curve.false_alarm
    array([1. , 0.5, 0. , 0. ])
    """
    scores, is_target, weights = _checked(scores, is_target, weights)
    order = np.argsort(scores, kind="stable")  # linear where sorted already
    scores, weights = scores[order], weights[order]
    targets = np.where(is_target[order], weights, 0.0)
    # A group of tied scores starts where a score differs from the last one.
    starts = np.append(0, np.flatnonzero(np.diff(scores)) + 1)
    rejected_targets, rejected_others = (
        np.append(0.0, np.cumsum(part))[np.append(starts, scores.size)]
        for part in (targets, weights - targets)
    )
    return DetCurve(
        rejected_targets / rejected_targets[-1],
        (rejected_others[-1] - rejected_others) / rejected_others[-1],
        np.append(scores[starts], np.inf),
    )


def equal_error_rate(
    scores: ArrayLike, is_target: ArrayLike, weights: ArrayLike | None = None
) -> tuple[float, float]:
    """Find where miss and false alarm rates are equal.

    The points of the DET curve are joined by straight lines; the rate is
    where these cross ``miss = false_alarm``. So tied scores move together,
    and scores that are all the same give 1/2.

    Arguments
    ---------
    scores : ArrayLike
        Finite scores (trials,).
    is_target : ArrayLike
        (trials,) bool, or 0 and 1.
    weights : ArrayLike | None
        How often each trial counts (trials,); None is once.

    Returns
    -------
    eer : float
        A fraction in [0, 1].
    threshold : float
        Of the two points beside the crossing, the one whose rates differ
        less; always one of the scores.

    Raises
    ------
    ValueError
        As :func:`det_curve`.

    Example
    -------
    >>> equal_error_rate([0.1, 0.2, 0.6, 0.5, 0.8, 0.9], [0, 0, 0, 1, 1, 1])
    (0.3333333333333333, 0.6)
    """
    miss, false_alarm, thresholds = det_curve(scores, is_target, weights)
    difference = miss - false_alarm  # rises from -1 to 1
    after = int(np.searchsorted(difference, 0.0))
    before = after - 1
    step = difference[after] - difference[before]
    part = -difference[before] / step
    eer = miss[before] + part * (miss[after] - miss[before])
    # At inf the difference is 1, so that `before`, finite, is no further.
    nearer = before if part <= 0.5 else after
    return float(eer), float(thresholds[nearer])


def min_dcf(
    scores: ArrayLike,
    is_target: ArrayLike,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
    weights: ArrayLike | None = None,
) -> tuple[float, float]:
    """Compute the normalised detection cost at its best threshold.

    ``c_miss p_target miss + c_fa (1 - p_target) false_alarm``, divided by
    its value for the better of rejecting and accepting everything,
    ``min(c_miss p_target, c_fa (1 - p_target))``, as in NIST's evaluation
    plans (https://www.nist.gov/itl/iad/mig/speaker-recognition).

    Arguments
    ---------
    scores : ArrayLike
        Finite scores (trials,).
    is_target : ArrayLike
        (trials,) bool, or 0 and 1.
    p_target : float
        Prior probability of a target, in (0, 1).
    c_miss : float
        Cost of rejecting a target, positive.
    c_fa : float
        Cost of accepting a non-target, positive.
    weights : ArrayLike | None
        How often each trial counts (trials,); None is once.

    Returns
    -------
    cost : float
        In [0, 1].
    threshold : float
        The lowest of the best; inf where rejecting every trial is best.

    Raises
    ------
    ValueError
        As :func:`det_curve`, and for a prior or a cost out of its range.

    Example
    -------
    >>> min_dcf([0.1, 0.2, 0.6, 0.5, 0.8, 0.9], [0, 0, 0, 1, 1, 1], 0.5)
    (0.3333333333333333, 0.5)
    """
    if not 0 < p_target < 1:
        raise ValueError(
            f"p_target ({p_target}) must lie between 0 and 1, both excluded; "
            "0.01 is common"
        )
    if not (0 < c_miss < np.inf and 0 < c_fa < np.inf):
        raise ValueError(
            f"c_miss ({c_miss}) and c_fa ({c_fa}) must be positive and finite"
        )
    miss, false_alarm, thresholds = det_curve(scores, is_target, weights)
    miss_cost, fa_cost = c_miss * p_target, c_fa * (1 - p_target)
    # Normalised before the sum, so that rejecting everything costs 1.0 and
    # not its neighbour in floating point.
    least = min(miss_cost, fa_cost)
    costs = miss_cost / least * miss + fa_cost / least * false_alarm
    best = int(np.argmin(costs))
    return float(costs[best]), float(thresholds[best])
