"""Logistic regression against distributions whose ratios are known."""

import numpy as np
import pytest
from scipy.optimize import minimize

from custom_modules.calibration import LogisticCalibration
from custom_modules.llr_metrics import cllr


def gaussian_trials(num_trials=40_000, seed=0):
    """Scores of two normals, deviation 2, means 3 and -1: llr = x - 1."""
    rng = np.random.default_rng(seed)
    is_target = rng.random(num_trials) < 0.2
    return rng.normal(np.where(is_target, 3.0, -1.0), 2.0), is_target


@pytest.mark.parametrize("p_target", [0.5, 0.1, 0.01])
def test_the_ratio_of_two_normals_is_found(p_target):
    scores, is_target = gaussian_trials()
    calibration = LogisticCalibration(p_target)
    calibration.fit(scores[:, None], is_target)
    assert calibration.weights == pytest.approx([1.0], abs=0.08)
    assert calibration.offset == pytest.approx(-1.0, abs=0.15)


def test_the_weights_minimise_the_weighted_cross_entropy():
    """Against scipy, without scaling, penalty or prior's offset."""
    scores, is_target = gaussian_trials(5000)
    extra = np.random.default_rng(1).normal(size=5000) + 0.3 * scores
    columns = np.column_stack([scores, extra])
    p_target = 0.1
    prior = np.log(p_target / (1 - p_target))

    def cost(parameters):
        llrs = parameters[0] + columns @ parameters[1:]
        miss = np.logaddexp(0, -llrs - prior)[is_target].mean()
        alarm = np.logaddexp(0, llrs + prior)[~is_target].mean()
        return p_target * miss + (1 - p_target) * alarm

    best = minimize(cost, np.zeros(3), method="BFGS").x
    calibration = LogisticCalibration(p_target)
    calibration.fit(columns, is_target)
    assert [calibration.offset, *calibration.weights] == pytest.approx(
        best, abs=0.02
    )


def test_a_quality_measure_moves_the_threshold():
    """Noisy recordings have lower scores; the measure puts them back."""
    rng = np.random.default_rng(2)
    scores, is_target = gaussian_trials(seed=3)
    quality = rng.normal(size=len(scores))
    shifted = scores + 2 * quality
    plain, aware = LogisticCalibration(0.5), LogisticCalibration(0.5)
    plain.fit(shifted[:, None], is_target)
    columns = np.column_stack([shifted, quality])
    aware.fit(columns, is_target)
    assert aware.weights == pytest.approx([1.0, -2.0], abs=0.1)
    assert cllr(aware(columns), is_target) < 0.9 * cllr(
        plain(shifted[:, None]), is_target
    )


def test_separable_trials_have_finite_weights():
    calibration = LogisticCalibration()
    calibration.fit([[0.9], [0.8], [0.1], [0.0]], [1, 1, 0, 0])
    llrs = calibration([[0.9], [0.0]])
    assert np.isfinite(llrs).all()
    assert llrs[0] > llrs[1]


@pytest.mark.parametrize(
    ("columns", "is_target", "message"),
    [
        ([[0.1], [0.9]], [1, 1], "2 of 2 trials are targets"),
        ([[0.1], [np.inf]], [1, 0], "must be finite"),
        ([0.1, 0.9], [1, 0], r"must be \(trials, columns\), with 2 trials"),
        ([[0.1], [0.9]], [1, 0], "the higher the score of these trials"),
    ],
)
def test_what_cannot_be_learnt_is_refused(columns, is_target, message):
    with pytest.raises(ValueError, match=message):
        LogisticCalibration().fit(columns, is_target)


def test_a_prior_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"p_target \(0\)"):
        LogisticCalibration(0)
