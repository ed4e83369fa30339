"""Error rates against golden numbers and a slow oracle."""

import itertools
import math
import time
from pathlib import Path

import numpy as np
import pytest

from custom_modules.metrics import (
    det_curve,
    equal_error_rate,
    min_dcf,
)

GOLDEN = np.load(Path(__file__).parent / "data" / "metrics.npz")
GOLDEN_TOLERANCE = 1e-3  # of the published code's own interpolation
ROUNDING = 1e-12
PRIORS = {"001": 0.01, "0001": 0.001, "005": 0.05}


def trials(seed, size=60, decimals=1):
    """Overlapping scores; few decimals make ties."""
    generator = np.random.default_rng(seed)
    is_target = np.arange(size) % 3 == 0
    scores = generator.normal(size=size) + is_target
    return np.round(scores, decimals), is_target


def operating_points(scores, is_target):
    """(miss, false alarm, threshold), counted trial by trial."""
    points = []
    for threshold in [*sorted(set(scores)), math.inf]:
        decisions = [score >= threshold for score in scores]
        pairs = list(zip(decisions, is_target, strict=True))
        miss = sum(t and not d for d, t in pairs) / sum(is_target)
        accepted = sum(d and not t for d, t in pairs)
        points.append(
            (miss, accepted / (len(pairs) - sum(is_target)), threshold)
        )
    return points


def slow_eer(scores, is_target):
    """Cross the diagonal, looking at one line of the ROC after the other."""
    points = operating_points(scores, is_target)
    for (m0, f0, _), (m1, f1, _) in itertools.pairwise(points):
        if m0 <= f0 and m1 >= f1:
            # m0 + p (m1 - m0) = f0 + p (f1 - f0)
            p = (f0 - m0) / (m1 - m0 - f1 + f0)
            return m0 + p * (m1 - m0)
    raise AssertionError("no crossing")


def slow_dcf(scores, is_target, p, c_miss, c_fa):
    costs = [
        c_miss * p * miss + c_fa * (1 - p) * false_alarm
        for miss, false_alarm, _ in operating_points(scores, is_target)
    ]
    return min(costs) / min(c_miss * p, c_fa * (1 - p))


@pytest.mark.parametrize("name", ["small", "ties", "large"])
def test_eer_agrees_with_the_published_code(name):
    eer, _ = equal_error_rate(
        GOLDEN[f"{name}_scores"], GOLDEN[f"{name}_labels"]
    )
    assert eer == pytest.approx(GOLDEN[f"{name}_eer"], abs=GOLDEN_TOLERANCE)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("name", ["small", "ties", "large"])
def test_min_dcf_agrees_with_the_published_code(name, prior):
    cost, _ = min_dcf(
        GOLDEN[f"{name}_scores"], GOLDEN[f"{name}_labels"], PRIORS[prior]
    )
    expected = GOLDEN[f"{name}_mindcf_{prior}"]
    assert cost == pytest.approx(expected, abs=GOLDEN_TOLERANCE)


@pytest.mark.parametrize("decimals", [0, 1, 9])
@pytest.mark.parametrize("seed", range(8))
def test_rates_agree_with_counting_trial_by_trial(seed, decimals):
    scores, is_target = trials(seed, decimals=decimals)
    curve = det_curve(scores, is_target)
    np.testing.assert_allclose(
        np.stack(curve, axis=1),
        operating_points(scores.tolist(), is_target.tolist()),
        atol=ROUNDING,
    )
    eer, _ = equal_error_rate(scores, is_target)
    assert eer == pytest.approx(slow_eer(scores, is_target), abs=ROUNDING)
    for costs in ((0.01, 1.0, 1.0), (0.3, 10.0, 1.0), (0.9, 1.0, 2.0)):
        cost, _ = min_dcf(scores, is_target, *costs)
        assert cost == pytest.approx(
            slow_dcf(scores, is_target, *costs), abs=ROUNDING
        )


def test_eer_computed_by_hand():
    """Of 2 targets and 4 non-targets, between (0, 1/2) and (1/2, 1/4)."""
    eer, threshold = equal_error_rate([1, 2, 3, 5, 3, 6], [0, 0, 0, 0, 1, 1])
    # miss = p / 2 meets false alarm = 1/2 - p / 4 at p = 2/3.
    assert eer == pytest.approx(1 / 3)
    assert threshold == 5.0  # its rates differ by 1/4, those at 3 by 1/2


def test_min_dcf_computed_by_hand():
    """Rejecting the target at 1 is cheaper than accepting two others."""
    scores, is_target = [1, 2, 3, 4], [1, 0, 0, 1]
    # At 4: 0.25 · 1/2 / 0.25; at 1: 0.75 · 1 / 0.25 = 3.
    assert min_dcf(scores, is_target, p_target=0.25) == (0.5, 4.0)
    # At 1: 0.25 · 1 / 0.25 = 1; at 4: 0.75 · 1/2 / 0.25 = 1.5; the lowest.
    assert min_dcf(scores, is_target, p_target=0.75) == (1.0, 1.0)
    # A miss ten times as dear: at 4, 5 / min(5, 0.5) · 1/2; at 1 it is 1.
    assert min_dcf(scores, is_target, 0.5, c_miss=10.0) == (1.0, 1.0)


def test_min_dcf_of_the_threshold_is_the_minimum():
    scores, is_target = trials(3, size=300)
    cost, threshold = min_dcf(scores, is_target, p_target=0.3)
    miss = np.mean(scores[is_target] < threshold)
    false_alarm = np.mean(scores[~is_target] >= threshold)
    assert (0.3 * miss + 0.7 * false_alarm) / 0.3 == pytest.approx(cost)


def test_perfect_scores_cost_nothing():
    scores, is_target = [0.1, 0.2, 0.8, 0.9], [False, False, True, True]
    assert equal_error_rate(scores, is_target) == (0.0, 0.8)
    assert min_dcf(scores, is_target) == (0.0, 0.8)


def test_inverted_scores_are_all_wrong():
    scores, is_target = [0.1, 0.2, 0.8, 0.9], [True, True, False, False]
    assert equal_error_rate(scores, is_target)[0] == 1.0
    assert min_dcf(scores, is_target) == (1.0, math.inf)


def test_scores_all_the_same_are_a_coin_toss():
    assert equal_error_rate([0.3] * 9, [0, 1, 0] * 3) == (0.5, 0.3)
    assert min_dcf([0.3] * 9, [0, 1, 0] * 3) == (1.0, math.inf)


def test_a_rising_transform_changes_the_threshold_alone():
    scores, is_target = trials(1)
    for metric in (equal_error_rate, min_dcf):
        value, threshold = metric(scores, is_target)
        assert metric(np.exp(scores), is_target) == (
            value,
            pytest.approx(np.exp(threshold)),
        )


def test_swapping_the_classes_and_the_sign_keeps_the_eer():
    scores, is_target = trials(2)
    assert equal_error_rate(-scores, ~is_target)[0] == pytest.approx(
        equal_error_rate(scores, is_target)[0]
    )


def test_the_order_of_the_trials_is_irrelevant():
    scores, is_target = trials(4)
    order = np.random.default_rng(0).permutation(scores.size)
    for metric in (equal_error_rate, min_dcf):
        assert metric(scores, is_target) == metric(
            scores[order], is_target[order]
        )


@pytest.mark.parametrize("seed", range(4))
def test_a_weight_is_a_number_of_copies(seed):
    scores, is_target = trials(seed)
    weights = np.random.default_rng(seed).integers(4, size=scores.size)
    copies = np.repeat(scores, weights), np.repeat(is_target, weights)
    for metric in (equal_error_rate, min_dcf):
        assert metric(scores, is_target, weights=weights) == metric(*copies)


@pytest.mark.parametrize(
    ("scores", "is_target", "message"),
    [
        ([], [], "no trials"),
        ([1.0, 2.0], [True], r"shapes \(2,\), \(1,\), \(2,\)"),
        ([[1.0, 2.0]], [[True, False]], "one entry per trial"),
        ([1.0, 2.0], [1, 1], "2 of 2 trials .* are targets"),
        ([1.0, 2.0], [0, 0], "0 of 2 trials .* are targets"),
        ([1.0, 2.0], [-1, 1], r"0 and 1 alone, got \[-1, 1\]"),
        (
            [1.0, math.nan, math.inf],
            [1, 0, 0],
            r"2 of 3 scores are not finite, the first is scores\[1\] = nan",
        ),
    ],
)
@pytest.mark.parametrize("metric", [equal_error_rate, min_dcf])
def test_bad_trials_are_refused(metric, scores, is_target, message):
    with pytest.raises(ValueError, match=message):
        metric(scores, is_target)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, -1.0], "not negative"),
        ([1.0, math.nan], "not negative"),
        ([1.0, 0.0], "1 of 1 trials"),
        ([1.0], "shapes"),
    ],
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        equal_error_rate([1.0, 2.0], [True, False], weights=weights)


@pytest.mark.parametrize("p_target", [0.0, 1.0, -0.1, math.nan])
def test_a_prior_outside_0_and_1_is_refused(p_target):
    with pytest.raises(ValueError, match=r"p_target .* between 0 and 1"):
        min_dcf([1.0, 2.0], [True, False], p_target)


@pytest.mark.parametrize("cost", [0.0, -1.0, math.inf, math.nan])
@pytest.mark.parametrize("name", ["c_miss", "c_fa"])
def test_costs_that_are_not_positive_are_refused(name, cost):
    with pytest.raises(ValueError, match="must be positive"):
        min_dcf([1.0, 2.0], [True, False], **{name: cost})


@pytest.mark.parametrize(("size", "seconds"), [(37_720, 0.25), (581_480, 2.0)])
def test_voxceleb_sized_lists_take_a_moment(size, seconds):
    """The aim is a fifth and less; other work may share the machine."""
    scores, is_target = trials(0, size, decimals=9)
    for metric in (equal_error_rate, min_dcf):
        start = time.perf_counter()
        metric(scores, is_target)
        assert time.perf_counter() - start < seconds
