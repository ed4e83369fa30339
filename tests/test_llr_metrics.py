"""Costs of log-likelihood ratios against their definitions."""

import math

import numpy as np
import pytest

from custom_modules.llr_metrics import actual_dcf, cllr
from custom_modules.metrics import min_dcf


@pytest.fixture
def trials():
    rng = np.random.default_rng(0)
    is_target = rng.random(3000) < 0.3
    # Of unit variance and means ±1/2 the log-likelihood ratio is the score.
    return rng.normal(np.where(is_target, 0.5, -0.5), 1.0), is_target


def test_cllr_is_the_mean_of_both_classes(trials):
    llrs, is_target = trials
    targets = [math.log2(1 + math.exp(-x)) for x in llrs[is_target]]
    others = [math.log2(1 + math.exp(x)) for x in llrs[~is_target]]
    expected = (np.mean(targets) + np.mean(others)) / 2
    assert cllr(llrs, is_target) == pytest.approx(expected, abs=1e-12)


def test_true_llrs_cost_least(trials):
    llrs, is_target = trials
    best = cllr(llrs, is_target)
    for other in (1.5 * llrs, llrs / 2, llrs + 1, llrs - 1):
        assert cllr(other, is_target) > best
    assert cllr(-llrs, is_target) > 1 > best


def test_large_llrs_do_not_overflow():
    assert cllr([1e4, -1e4], [1, 0]) == 0.0
    assert cllr([-1e4, 1e4], [1, 0]) == pytest.approx(1e4 / math.log(2))


@pytest.mark.parametrize("p_target", [0.5, 0.1, 0.01])
def test_the_actual_cost_is_that_of_a_loop(trials, p_target):
    llrs, is_target = trials
    llrs = 3 * llrs
    threshold = math.log((1 - p_target) / p_target)
    accepted = [x >= threshold for x in llrs]
    pairs = list(zip(accepted, is_target, strict=True))
    miss = sum(t and not a for a, t in pairs) / is_target.sum()
    alarm = sum(a and not t for a, t in pairs) / (~is_target).sum()
    cost = p_target * miss + (1 - p_target) * alarm
    expected = cost / min(p_target, 1 - p_target)
    found = actual_dcf(llrs, is_target, p_target)
    assert found == pytest.approx(expected, abs=1e-12)
    assert found >= min_dcf(llrs, is_target, p_target)[0] - 1e-12


def test_cosines_reject_everything_at_a_small_prior():
    assert actual_dcf([0.9, 0.8, 0.1], [1, 1, 0], 0.01) == 1.0


@pytest.mark.parametrize("measure", [cllr, actual_dcf])
@pytest.mark.parametrize(
    ("llrs", "is_target", "message"),
    [
        ([1.0, 2.0], [1, 1], "2 of 2 trials are targets"),
        ([1.0, np.nan], [1, 0], "must be finite"),
        ([1.0], [1, 0], r"shapes \(1,\) and \(2,\)"),
    ],
)
def test_bad_trials_are_refused(measure, llrs, is_target, message):
    with pytest.raises(ValueError, match=message):
        measure(llrs, is_target)


def test_a_prior_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"p_target \(1\.0\)"):
        actual_dcf([1.0, 0.0], [1, 0], 1.0)
