"""Intervals from resampled values: cases whose answer is known."""

import math

import numpy as np
import pytest

from custom_modules.intervals import (
    bias_corrected,
    cost_interval,
    is_minimised_cost,
    student_quantile,
)
from custom_modules.metrics import equal_error_rate, min_dcf

TABULATED = {4: 2.776, 9: 2.262, 39: 2.0227, 120: 1.9799}  # Student's t


@pytest.mark.parametrize("degrees", TABULATED)
def test_the_quantile_is_student_s(degrees):
    value = student_quantile(degrees)
    assert value == pytest.approx(TABULATED[degrees], abs=0.01)


def log_normal(centre, deviation, size=20_001):
    """Values at evenly spaced quantiles of a normal logarithm."""
    parts = (np.arange(size) + 0.5) / size
    normal = np.random.default_rng(0).normal(size=200_000)
    return centre * np.exp(deviation * np.quantile(normal, parts))


def test_costs_without_bias_get_a_log_normal_interval():
    """Symmetric in the logarithm, with Student's t."""
    _, low, high = cost_interval(log_normal(0.3, 0.1), 0.3, np.full(40, 0.3))
    half = 0.1 * student_quantile(39)
    assert math.log(high / 0.3) == pytest.approx(half, abs=0.003)
    assert math.log(low / 0.3) == pytest.approx(-half, abs=0.003)


def test_a_bias_moves_the_interval_the_other_way():
    """Resamples are one deviation lower: so is the value than the truth."""
    values = log_normal(0.3 * math.exp(-0.1), 0.1)
    _, low, high = cost_interval(values, 0.3, np.full(40, 0.3))
    assert math.log(low * high) / 2 == pytest.approx(
        math.log(0.3) + 0.1, abs=0.003
    )


def test_the_larger_of_two_deviations_widens_the_interval():
    """Left out, speakers move the cost by twice the bootstrap's deviation."""
    values = log_normal(0.3, 0.1)
    step = 2 * values.std() / math.sqrt(39)
    left_out = 0.3 + step * np.tile([1.0, -1.0], 20)
    _, low, high = cost_interval(values, 0.3, left_out)
    half = 2 * 0.1 * student_quantile(39)
    assert math.log(high / low) / 2 == pytest.approx(half, abs=0.006)
    once = cost_interval(values, 0.3, np.full(40, 0.3))
    assert low < once.low < once.high < high


def test_an_interval_of_costs_ends_at_1():
    assert cost_interval(log_normal(0.9, 0.1), 0.9, np.zeros(0)).high == 1.0


def test_a_resample_without_errors_has_no_infinite_logarithm():
    values = np.append(log_normal(0.3, 0.1), 0.0)
    _, low, high = cost_interval(values, 0.3, np.full(40, 0.3))
    assert 0.2 < low < 0.3 < high < 0.4


def test_equal_costs_have_an_interval_of_one_point():
    values = np.full(50, 0.25)
    assert cost_interval(values, 0.25, values[:3]) == (0.25, 0.25, 0.25)
    assert bias_corrected(values, 0.25) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("p_target", [0.001, 0.01, 0.5, 0.9])
@pytest.mark.parametrize("mean", [0.5, 2.0, 4.0])
def test_costs_are_told_from_error_rates(p_target, mean):
    generator = np.random.default_rng(0)
    is_target = np.arange(500) % 2 == 0
    scores = generator.normal(size=500) + mean * is_target
    for (value, threshold), expected in (
        (min_dcf(scores, is_target, p_target), True),
        (equal_error_rate(scores, is_target), False),
    ):
        miss = np.mean(scores[is_target] < threshold)
        false_alarm = np.mean(scores[~is_target] >= threshold)
        assert is_minimised_cost(value, miss, false_alarm) == expected
