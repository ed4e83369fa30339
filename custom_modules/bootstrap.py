"""How sure an error rate is, and the difference of two: over speakers.

Trials that share a speaker are not independent, so speakers are drawn, with
replacement and as many as there are: the "subsets bootstrap" of Bolle, Ratha
and Pankanti (https://doi.org/10.1016/j.cviu.2003.08.002) with a person for a
subset, on both sides of a trial.

`resampling` draws them, `intervals` makes intervals of what comes out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from custom_modules.intervals import (
    TAIL,
    Estimate,
    bias_corrected,
    cost_interval,
    is_minimised_cost,
    part_below,
)
from custom_modules.resampling import (
    Measured,
    Metric,
    SpeakerTrials,
    leave_out,
    resample,
)


class Comparison(NamedTuple):
    """Two systems on the same trials; `difference` is a minus b."""

    a: Estimate
    b: Estimate
    difference: Estimate
    p_value: float


def _estimate(measured: Measured, trials: SpeakerTrials) -> Estimate:
    """The interval that suits a metric."""
    scores, metric = measured.scores, measured.metric
    rejected = scores < measured.threshold
    miss = rejected[trials.is_target].mean()
    false_alarm = 1 - rejected[~trials.is_target].mean()
    if not is_minimised_cost(measured.value, miss, false_alarm):
        return bias_corrected(measured.resampled, measured.value)
    left_out = leave_out(scores, *trials, metric)
    return cost_interval(measured.resampled, measured.value, left_out)


def speaker_bootstrap(
    scores: ArrayLike,
    is_target: ArrayLike,
    enrol_speakers: ArrayLike,
    test_speakers: ArrayLike,
    metric: Metric,
    num_resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Compute a metric's 95 % interval over the choice of the speakers.

    An error rate's interval lies between two quantiles of the resamples'
    values, by `intervals.bias_corrected`; that of a cost minimised over its
    threshold, as minDCF, is `intervals.cost_interval`.

    What part of the intervals hold the true value is simulated by
    ``python -m benchmarks.coverage``, and stated in the README.

    Arguments
    ---------
    scores : ArrayLike
        Finite scores (trials,).
    is_target : ArrayLike
        (trials,) bool, or 0 and 1.
    enrol_speakers : ArrayLike
        The enrolled speaker of each trial (trials,), str or int.
    test_speakers : ArrayLike
        The tested speaker of each trial (trials,).
    metric : Metric
        ``metric(scores, is_target, weights=...) -> (value, threshold)``, as
        `equal_error_rate` or ``functools.partial(min_dcf, p_target=0.001)``;
        refuses scores and truths that it cannot measure.
    num_resamples : int
        Draws, positive.
    seed : int
        Of the draws.

    Returns
    -------
    low : float
        Lower end of the interval.
    high : float
        Upper end of the interval.

    Raises
    ------
    ValueError
        As the metric, and where the speakers contradict `is_target`.

    Example
    -------
    >>> from custom_modules.metrics import equal_error_rate
    >>> scores, is_target = [0.9, 0.3, 0.8, 0.4, 0.1, 0.2], [1, 1, 1, 0, 0, 0]
    >>> enrol, test = ["a", "b", "c", "a", "b", "c"], list("abcbca")
    >>> speaker_bootstrap(scores, is_target, enrol, test, equal_error_rate)
    (0.0, 0.6666666666666666)
    """
    (estimate,) = speaker_intervals(
        scores,
        is_target,
        enrol_speakers,
        test_speakers,
        [metric],
        num_resamples,
        seed,
    )
    return estimate.low, estimate.high


def speaker_intervals(
    scores: ArrayLike,
    is_target: ArrayLike,
    enrol_speakers: ArrayLike,
    test_speakers: ArrayLike,
    metrics: Sequence[Metric],
    num_resamples: int = 1000,
    seed: int = 0,
) -> list[Estimate]:
    """Compute several metrics and their intervals, on the same resamples.

    Arguments
    ---------
    scores : ArrayLike
        Finite scores (trials,).
    is_target : ArrayLike
        (trials,) bool, or 0 and 1.
    enrol_speakers, test_speakers : ArrayLike
        The speakers of each trial (trials,), str or int.
    metrics : Sequence[Metric]
        Each as in `speaker_bootstrap`.
    num_resamples : int
        Draws, positive.
    seed : int
        Of the draws.

    Returns
    -------
    estimates : list[Estimate]
        Of each metric, what `speaker_bootstrap` gives and its value.

    Raises
    ------
    ValueError
        As `speaker_bootstrap`.

    Example
    -------
    >>> from custom_modules.metrics import equal_error_rate
    >>> scores, is_target = [0.9, 0.3, 0.8, 0.4, 0.1, 0.2], [1, 1, 1, 0, 0, 0]
    >>> speakers = ["a", "b", "c", "a", "b", "c"], list("abcbca")
    >>> metrics = [equal_error_rate]
    >>> speaker_intervals(scores, is_target, *speakers, metrics)[0].high
    0.6666666666666666
    """
    measured, trials = resample(
        [(scores, metric) for metric in metrics],
        is_target,
        enrol_speakers,
        test_speakers,
        num_resamples,
        seed,
    )
    return [_estimate(one, trials) for one in measured]


def compare_systems(
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    is_target: ArrayLike,
    enrol_speakers: ArrayLike,
    test_speakers: ArrayLike,
    metric: Metric,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare two systems on the same trials, and on the same resamples.

    What makes speakers easy or hard for both systems cancels in the
    difference, so its interval is narrower than the two systems' would
    suggest. It lies between the 2.5 % and 97.5 % quantiles of the resamples'
    differences: the metric's bias, which `speaker_bootstrap` corrects,
    cancels too. The two-sided p-value is the level at which such an interval
    ends at 0 (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    section 15.4),

        p = 2 min(G, 1 - G),  G = #{d < 0} / num_resamples,

    where d equal to 0 counts half and no p is below 1 / num_resamples. It
    says how sure the sign is over speakers, not over trainings.

    Coverage of the difference's interval, simulated in
    `tests/test_bootstrap.py` (300 sets of 40 speakers): 98 and 96 % for the
    EER, 99 and 95 % for minDCF(0.05), with mild and strong effects of
    speakers.

    Arguments
    ---------
    scores_a : ArrayLike
        Finite scores (trials,) of one system.
    scores_b : ArrayLike
        Of the other, in the same order.
    is_target : ArrayLike
        (trials,) bool, or 0 and 1.
    enrol_speakers : ArrayLike
        The enrolled speaker of each trial (trials,), str or int.
    test_speakers : ArrayLike
        The tested speaker of each trial (trials,).
    metric : Metric
        As in `speaker_bootstrap`.
    num_resamples : int
        Draws, positive.
    seed : int
        Of the draws.

    Returns
    -------
    comparison : Comparison
        Values and 95 % intervals of a (`speaker_bootstrap`'s), of b and of
        the difference a - b; the p-value of no difference, in (0, 1].

    Raises
    ------
    ValueError
        As `speaker_bootstrap`.

    Example
    -------
    >>> from custom_modules.metrics import equal_error_rate
    >>> is_target, enrol, test = [1, 1, 1, 0, 0, 0], list("abcabc"), "abcbca"
    >>> trials = is_target, enrol, list(test), equal_error_rate
    >>> scores = [0.9, 0.3, 0.8, 0.4, 0.1, 0.2]
    >>> compare_systems(scores, [0.9, 0.7, 0.8, 0.4, 0.1, 0.2], *trials).b
    Estimate(value=0.0, low=0.0, high=0.0)
    >>> compare_systems(scores, scores, *trials).p_value
    1.0
    """
    measured, trials = resample(
        [(scores_a, metric), (scores_b, metric)],
        is_target,
        enrol_speakers,
        test_speakers,
        num_resamples,
        seed,
    )
    a, b = (_estimate(one, trials) for one in measured)
    differences = measured[0].resampled - measured[1].resampled
    low, high = np.quantile(differences, (TAIL, 1 - TAIL))
    below = part_below(differences, 0.0)
    return Comparison(
        a,
        b,
        Estimate(a.value - b.value, float(low), float(high)),
        2 * min(below, 1 - below),
    )
