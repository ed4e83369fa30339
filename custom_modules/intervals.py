"""From a metric's values on resamples to its 95 % interval.

An error rate and a cost need different ones. The EER's resamples lie about
the EER. A cost is the least of many, over thresholds: lower on resamples than
on the trials and lower on these than on other speakers, by as much as their
spread where few non-targets are accepted.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

# The part of the distribution outside an interval, on each side.
TAIL = 0.025
NORMAL = NormalDist()
ROUNDING = 1e-9


class Estimate(NamedTuple):
    """A value and its 95 % interval over speakers."""

    value: float
    low: float
    high: float


def part_below(values: np.ndarray, value: float) -> float:
    """Part of the values below one, of those equal half; never 0 or 1.

    Example
    -------
    >>> part_below(np.array([1.0, 2.0, 3.0, 4.0]), 2.0)
    0.375
    """
    below = np.mean(values < value) + np.mean(values == value) / 2
    # Where all values lie on one side: half a resample on the other.
    half = 0.5 / values.size
    return float(np.clip(below, half, 1 - half))


def bias_corrected(values: np.ndarray, value: float) -> Estimate:
    """Quantiles that are 2.5 % and 97.5 % where half are below `value`.

    Efron's bias correction (https://doi.org/10.2307/2289144).

    Arguments
    ---------
    values : np.ndarray
        Of the resamples (num_resamples,).
    value : float
        Of the trials.

    Returns
    -------
    estimate : Estimate
        The value and its interval.

    Example
    -------
    >>> values = np.arange(1001.0)
    >>> _, low, high = bias_corrected(values, 500.0)
    >>> round(low), round(high)
    (25, 975)
    """
    shift = NORMAL.inv_cdf(part_below(values, value))
    tails = (NORMAL.inv_cdf(tail) for tail in (TAIL, 1 - TAIL))
    low, high = (
        np.quantile(values, NORMAL.cdf(2 * shift + tail)) for tail in tails
    )
    return Estimate(float(value), float(low), float(high))


def is_minimised_cost(value: float, miss: float, false_alarm: float) -> bool:
    """Tell a normalised detection cost from an error rate.

    A normalised cost weighs both errors by at least 1 and is at most 1. The
    EER is no more than the larger of the two, so less than their sum.

    Arguments
    ---------
    value : float
        Of the metric.
    miss, false_alarm : float
        Rates at the threshold that it returned.

    Example
    -------
    >>> is_minimised_cost(0.3, miss=0.2, false_alarm=0.001)
    True
    >>> is_minimised_cost(0.05, miss=0.0501, false_alarm=0.0498)
    False
    """
    return 0 < value <= 1 and value >= miss + false_alarm - ROUNDING


def student_quantile(degrees: int) -> float:
    """The 97.5 % quantile of Student's t.

    Cornish and Fisher's expansion, Abramowitz and Stegun's 26.7.5; within
    0.01 from 4 degrees on.

    Example
    -------
    >>> round(student_quantile(39), 4)
    2.0227
    """
    z = NORMAL.inv_cdf(1 - TAIL)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(
        term / degrees**power for power, term in enumerate(terms, start=1)
    )


def cost_interval(
    values: np.ndarray, value: float, left_out: np.ndarray
) -> Estimate:
    """The interval of a cost that was minimised over its threshold.

    Let the logarithm of a resample's cost be normal about log(value) - b, and
    that of the value about the true one minus b, with one deviation s. Then
    the true one is about log(value) + b, which is the quantile Phi(2 z) of the
    resamples where a part Phi(z) of them is below the value: Efron's bias
    correction. His ends are quantiles too, and there are none left above
    where b is as large as s; so here they are

        centre -+ t s max(1, jackknife / bootstrap),

    with Student's t for as many degrees of freedom as speakers less one. The
    factor is of two standard deviations of the cost. The bootstrap's is too
    small where a few speakers make most false alarms; the jackknife's, which
    leaves out one speaker at a time, has on average at least the true variance
    (Efron and Stein, https://doi.org/10.1214/aos/1176345462).

    Arguments
    ---------
    values : np.ndarray
        Costs of the resamples (num_resamples,), normalised.
    value : float
        Of the trials, positive.
    left_out : np.ndarray
        Costs without one speaker after the other (speakers,); of fewer than
        two nothing is used.

    Returns
    -------
    estimate : Estimate
        The value and its interval, which ends at 1 at most: what rejecting
        or accepting everything costs.

    Example
    -------
    >>> values = 0.3 * np.exp(0.1 * np.random.default_rng(0).normal(size=1000))
    >>> _, low, high = cost_interval(values, 0.3, np.full(40, 0.3))
    >>> round(low, 2), round(high, 2)
    (0.25, 0.37)
    """
    spread = values.std()
    if spread == 0:
        return bias_corrected(values, value)
    # A cost of 0 has no logarithm: half of the least that was seen.
    least = values[values > 0].min()
    logs = np.log(np.maximum(values, least / 2))
    shift = NORMAL.inv_cdf(part_below(values, value))
    centre = np.quantile(logs, NORMAL.cdf(2 * shift))
    widening, quantile = 1.0, NORMAL.inv_cdf(1 - TAIL)
    if left_out.size > 1:
        jackknife = math.sqrt(left_out.size - 1) * left_out.std()
        widening = max(1.0, jackknife / spread)
        quantile = student_quantile(left_out.size - 1)
    half = quantile * widening * logs.std()
    low, high = math.exp(centre - half), math.exp(centre + half)
    return Estimate(float(value), low, min(high, 1.0))
