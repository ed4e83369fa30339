"""How good scores are as log-likelihood ratios, thresholds included.

EER and minDCF choose the best threshold on the trials that they measure. A
product has to choose before: accept where the natural logarithm of the
likelihood ratio of "same speaker" and "different speakers" is above

    log(c_fa (1 - p_target)) - log(c_miss p_target),

which is best where scores are such logarithms. These two measure how far from
it they are: Brümmer and du Preez, "Application-independent evaluation of
speaker detection", https://doi.org/10.1016/j.csl.2005.08.001.
"""

import numpy as np
from numpy.typing import ArrayLike


def _split(
    llrs: ArrayLike, is_target: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the targets and of the others, checked."""
    llrs = np.asarray(llrs, dtype=np.float64)
    is_target = np.asarray(is_target).astype(bool)
    if llrs.ndim != 1 or llrs.shape != is_target.shape:
        raise ValueError(
            "llrs and is_target need one entry per trial, but have shapes "
            f"{llrs.shape} and {is_target.shape}"
        )
    if not np.isfinite(llrs).all():
        raise ValueError("llrs must be finite")
    if not 0 < is_target.sum() < is_target.size:
        raise ValueError(
            f"{is_target.sum()} of {is_target.size} trials are targets; give "
            "at least one target and one non-target"
        )
    return llrs[is_target], llrs[~is_target]


def cllr(llrs: ArrayLike, is_target: ArrayLike) -> float:
    """Cost of log-likelihood ratios, over all thresholds.

    ``(mean log2(1 + 1 / r) of targets + mean log2(1 + r) of others) / 2``
    with ``r = exp(llr)``, the paper's C_llr.

    Arguments
    ---------
    llrs : ArrayLike
        Finite natural logarithms (trials,).
    is_target : ArrayLike
        (trials,) bool, or 0 and 1.

    Returns
    -------
    cost : float
        In bits: 0 is perfect, 1 what llrs of 0 cost, which say nothing; more
        where they mislead.

    Raises
    ------
    ValueError
        Where shapes differ, llrs are not finite or one class is missing.

    Example
    -------
    >>> cllr([0.0, 0.0], [True, False])
    1.0
    """
    targets, others = _split(llrs, is_target)
    costs = np.logaddexp(0, -targets).mean(), np.logaddexp(0, others).mean()
    return float(sum(costs) / 2 / np.log(2))


def actual_dcf(
    llrs: ArrayLike,
    is_target: ArrayLike,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """Detection cost at the threshold that log-likelihood ratios have.

    Normalised as :func:`custom_modules.metrics.min_dcf`, which is its value at
    the best threshold and so never larger.

    Arguments
    ---------
    llrs : ArrayLike
        Finite natural logarithms (trials,).
    is_target : ArrayLike
        (trials,) bool, or 0 and 1.
    p_target : float
        Prior probability of a target, in (0, 1).
    c_miss : float
        Cost of rejecting a target, positive.
    c_fa : float
        Cost of accepting a non-target, positive.

    Returns
    -------
    cost : float
        1.0 for rejecting every trial, or accepting, what is cheaper; more
        where the scores mislead.

    Raises
    ------
    ValueError
        As :func:`cllr`, and for a prior or a cost out of its range.

    Example
    -------
    >>> actual_dcf([1.0, 5.0, -3.0, -6.0], [1, 1, 0, 0], p_target=0.01)
    0.5
    """
    if not (0 < p_target < 1 and c_miss > 0 and c_fa > 0):
        raise ValueError(
            f"p_target ({p_target}) must lie between 0 and 1, c_miss "
            f"({c_miss}) and c_fa ({c_fa}) must be positive"
        )
    targets, others = _split(llrs, is_target)
    miss_cost, fa_cost = c_miss * p_target, c_fa * (1 - p_target)
    threshold = np.log(fa_cost) - np.log(miss_cost)
    cost = miss_cost * np.mean(targets < threshold)
    cost += fa_cost * np.mean(others >= threshold)
    return float(cost / min(miss_cost, fa_cost))
