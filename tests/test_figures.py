"""DET curves and histograms, against numbers computed another way."""

from statistics import NormalDist

import numpy as np
import pytest
from figures import (
    DET_TICKS,
    NUM_BINS,
    ScoredSystem,
    det_points,
    draw_det,
    draw_scores,
    save_figure,
    to_deviate,
    to_percent,
)

from custom_modules.metrics import equal_error_rate


def make_system(label="system", num_trials=2000, seed=0, shift=2.0):
    rng = np.random.default_rng(seed)
    is_target = np.arange(num_trials) % 4 == 0
    scores = rng.normal(size=num_trials) + shift * is_target
    return ScoredSystem(label, scores, is_target, (1.0, 30.0))


def test_ticks_stand_at_the_normal_deviates_of_their_rates():
    axes = draw_det([make_system()], "").axes[0]
    ticks = axes.get_xticks()
    labels = [float(text.get_text()) for text in axes.get_xticklabels()]
    assert set(ticks) <= set(DET_TICKS)
    assert len(ticks) > 5
    np.testing.assert_array_equal(labels, ticks)
    deviates = [NormalDist().inv_cdf(tick / 100) for tick in ticks]
    for axis, transform in ((0, axes.transData), (1, axes.transData)):
        places = transform.transform(np.column_stack([ticks, ticks]))[:, axis]
        expected = np.interp(
            deviates, [deviates[0], deviates[-1]], [places[0], places[-1]]
        )
        np.testing.assert_allclose(places, expected, atol=1e-6)  # pixels


def test_normal_scores_give_a_straight_line_of_slope_minus_one():
    """Of equal deviations: probit(miss) = -shift - probit(false alarm)."""
    system = make_system(num_trials=400_000, shift=2.0)
    false_alarm, miss = det_points(system.scores, system.is_target)
    inside = (false_alarm > 1) & (false_alarm < 60) & (miss > 1) & (miss < 60)
    sample = np.flatnonzero(inside)[::2000]
    normal = NormalDist()
    for x, y in zip(false_alarm[sample], miss[sample], strict=True):
        line = -2.0 - normal.inv_cdf(x / 100)
        assert normal.inv_cdf(y / 100) == pytest.approx(line, abs=0.05)


@pytest.mark.parametrize("num_trials", [16, 50, 2000])
def test_the_marked_point_is_the_eer_and_lies_on_the_curve(num_trials):
    system = make_system(num_trials=num_trials, seed=1, shift=1.0)
    axes = draw_det([system], "").axes[0]
    line = axes.lines[-1]
    (marked,) = line.get_markevery()
    x, y = (values[marked] for values in line.get_data())
    eer, _ = equal_error_rate(system.scores, system.is_target)
    assert x == y == 100 * eer
    false_alarm, miss = line.get_data()
    assert (np.diff(false_alarm) <= 0).all()
    assert (np.diff(miss) >= 0).all()
    low, high = axes.get_xlim()
    assert low < 100 * eer < high
    assert (
        f"EER {100 * eer:.2f} %" in axes.figure.legends[0].texts[0].get_text()
    )


def test_a_perfect_system_and_one_that_guesses_are_drawn():
    is_target = np.arange(200) % 2 == 0
    perfect = ScoredSystem("a", is_target.astype(float), is_target, (0, 0))
    guess = ScoredSystem("b", np.zeros(200), is_target, (50, 50))
    figure = draw_det([perfect, guess], "")
    assert figure.axes[0].get_xlim() == (DET_TICKS[0], 99)
    figure.draw_without_rendering()


def test_curves_differ_in_more_than_colour():
    systems = [make_system(str(seed), seed=seed) for seed in range(6)]
    lines = draw_det(systems, "").axes[0].lines[1:]
    assert len({line._unscaled_dash_pattern for line in lines}) == 6
    assert len({line.get_marker() for line in lines}) == 6


def test_histograms_hold_every_trial_once():
    system = make_system()
    axes = draw_scores(system, {"EER": 1.0, "minDCF": 2.0}, "").axes[0]
    drawn = [patch.get_data() for patch in axes.patches]
    for (shares, edges, _), chosen in zip(
        drawn, (~system.is_target, system.is_target), strict=True
    ):
        assert len(shares) == NUM_BINS
        assert edges[0] == system.scores.min()
        assert edges[-1] == system.scores.max()
        counts = shares / 100 * chosen.sum()
        np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
        assert counts.sum() == pytest.approx(chosen.sum())
        mean = (counts * (edges[:-1] + edges[1:]) / 2).sum() / chosen.sum()
        width = edges[1] - edges[0]
        assert abs(mean - system.scores[chosen].mean()) < width / 2
    assert [line.get_xdata()[0] for line in axes.lines] == [1.0, 2.0]
    assert len({patch.get_hatch() for patch in axes.patches}) == 2


def test_files_repeat_byte_for_byte(tmp_path):
    for name in ("a", "b"):
        save_figure(
            draw_scores(make_system(), {"EER": 1.0}, "Scores"),
            tmp_path / "new" / name,
        )
    for suffix, start in (("png", b"\x89PNG"), ("svg", b"<?xml")):
        first, second = (
            (tmp_path / "new" / f"{name}.{suffix}").read_bytes()
            for name in ("a", "b")
        )
        assert first.startswith(start)
        assert len(first) > 5000
        assert first == second


def test_percent_and_deviate_are_inverse():
    rates = np.array(DET_TICKS, dtype=float)
    np.testing.assert_allclose(to_percent(to_deviate(rates)), rates)
