"""The bootstrap over speakers: worlds whose error rates are known."""

import functools
import time

import numpy as np
import pytest
from cpu_memory import keep_freed_memory

from benchmarks.coverage import Effects, true_rates
from benchmarks.coverage import speaker_world as draw_world
from custom_modules.bootstrap import (
    compare_systems,
    speaker_bootstrap,
    speaker_intervals,
)
from custom_modules.intervals import bias_corrected
from custom_modules.metrics import equal_error_rate, min_dcf

ROUNDING = 1e-12
P_TARGETS = (0.05,)
METRICS = {
    "EER": equal_error_rate,
    "minDCF": functools.partial(min_dcf, p_target=P_TARGETS[0]),
}
MEANS = 3.0, 2.5  # of the targets of two systems
MILD = Effects(0.7, 0.3, 0.3)
STRONG = Effects(0.7, 0.8, 0.5)


def speaker_world(seed, num_speakers=40, size=2000, num_systems=1):
    """Systems' scores of the same trials, with mild effects of speakers."""
    return draw_world(seed, MEANS[:num_systems], MILD, num_speakers, size)


def coverage(name, num_worlds, num_resamples, effects=MILD):
    """Part of the intervals that hold the truth: of A, of A - B."""
    a, b = (
        true_rates(mean, effects, P_TARGETS)[
            "EER" if name == "EER" else f"minDCF({P_TARGETS[0]})"
        ]
        for mean in MEANS
    )
    covered = np.zeros(2)
    for seed in range(num_worlds):
        world = draw_world(seed, MEANS, effects)
        result = compare_systems(*world, METRICS[name], num_resamples, seed)
        covered += (
            result.a.low <= a <= result.a.high,
            result.difference.low <= a - b <= result.difference.high,
        )
    return covered / num_worlds


@pytest.mark.parametrize(
    ("name", "effects"), [("EER", MILD), ("minDCF", STRONG)]
)
def test_the_intervals_cover_the_truth(name, effects):
    """88 % of 40 intervals: a short sample of the long test below."""
    assert min(coverage(name, 40, 60, effects)) >= 0.88


@pytest.mark.long
@pytest.mark.parametrize("effects", [MILD, STRONG], ids=["mild", "strong"])
@pytest.mark.parametrize("name", METRICS)
def test_the_intervals_cover_the_truth_in_many_worlds(name, effects):
    """`-s` shows the figures; `benchmarks.coverage` has larger worlds."""
    one, difference = coverage(name, 300, 300, effects)
    print(f"\n{name}, {effects}: A {one:.1%}, A - B {difference:.1%}")
    assert one >= 0.88
    assert difference >= 0.88


def plainly_resampled(world, metric, num_resamples, seed):
    """Values of A and B, the trials of each resample written out as a list."""
    *systems, is_target, enrol, test = world
    generator = np.random.default_rng(seed)
    num_speakers = max(*enrol, *test) + 1
    values = []
    while len(values) < num_resamples:
        draws = generator.integers(num_speakers, size=num_speakers).tolist()
        copies = []
        for trial, pair in enumerate(zip(enrol, test, strict=True)):
            first, second = map(draws.count, pair)
            copies += [trial] * (first if is_target[trial] else first * second)
        if len({is_target[trial] for trial in copies}) == 2:
            values.append(
                [metric(s[copies], is_target[copies])[0] for s in systems]
            )
    return np.array(values)


@pytest.mark.parametrize("name", METRICS)
def test_a_comparison_is_that_of_a_plain_loop(name):
    metric = METRICS[name]
    world = speaker_world(3, num_speakers=5, size=60, num_systems=2)
    result = compare_systems(*world, metric, 50, seed=7)
    *systems, is_target, enrol, test = world
    a, b = (metric(scores, is_target)[0] for scores in systems)
    differences = np.diff(-plainly_resampled(world, metric, 50, 7))[:, 0]
    below = (differences < 0).mean() + (differences == 0).mean() / 2
    assert result.a.value == a
    assert result.b.value == b
    assert result.difference == pytest.approx(
        (a - b, *np.quantile(differences, (0.025, 0.975))), abs=ROUNDING
    )
    assert result.p_value == max(2 * min(below, 1 - below), 1 / 50)
    for scores, one in zip(systems, (result.a, result.b), strict=True):
        interval = speaker_bootstrap(
            scores, is_target, enrol, test, metric, 50, seed=7
        )
        assert one[1:] == interval


def test_a_system_does_not_differ_from_itself():
    scores, *trials = speaker_world(0)
    result = compare_systems(scores, scores, *trials, equal_error_rate, 20)
    assert result.a == result.b
    assert result.difference == (0.0, 0.0, 0.0)
    assert result.p_value == 1.0


def test_systems_that_differ_clearly_have_a_small_p():
    a, _, *trials = speaker_world(0, num_systems=2)
    worse = a - 2 * trials[0]
    result = compare_systems(worse, a, *trials, equal_error_rate, 100)
    assert 0 < result.difference.low < result.difference.value
    assert result.p_value == 0.01  # none of 100 is below 0


def test_exchanged_systems_exchange_the_sign():
    a, b, *trials = speaker_world(2, num_systems=2)
    one = compare_systems(a, b, *trials, equal_error_rate, 50)
    two = compare_systems(b, a, *trials, equal_error_rate, 50)
    assert (two.a, two.b) == (one.b, one.a)
    assert two.p_value == pytest.approx(one.p_value)
    value, low, high = one.difference
    assert two.difference == pytest.approx((-value, -high, -low), abs=ROUNDING)


def test_the_bootstrap_resamples_speakers_not_trials():
    """Copies of each trial say nothing new about the speakers."""
    scores, is_target, enrol, test = speaker_world(0, size=1000)
    once = speaker_bootstrap(
        scores, is_target, enrol, test, equal_error_rate, 100
    )
    copied = [np.tile(x, 5) for x in (scores, is_target, enrol, test)]
    five = speaker_bootstrap(*copied, equal_error_rate, 100)
    assert five == pytest.approx(once, abs=ROUNDING)


def test_the_bootstrap_weighs_a_trial_by_its_speakers_copies():
    """A target counts m times, a non-target m n times."""
    enrol, test = np.array(list("abcaab")), np.array(list("abcbcc"))
    scores, seen = np.arange(6.0), []

    def metric(scores, is_target, weights):
        seen.append(dict(zip(scores.tolist(), weights.tolist(), strict=True)))
        return 0.0, 0.0

    speaker_bootstrap(scores, enrol == test, enrol, test, metric, 50)
    for weights in seen:
        a, b, c = (weights.get(float(k), 0) for k in range(3))
        assert a + b + c == 3
        products = {3.0: a * b, 4.0: a * c, 5.0: b * c}
        for score, product in products.items():
            assert weights.get(score, 0) == product
    assert any(2 in weights.values() for weights in seen)


def test_the_bootstrap_depends_on_the_seed_and_not_on_the_order():
    world = speaker_world(1, size=400)
    order = np.random.default_rng(0).permutation(400)
    metric = METRICS["minDCF"]
    interval = speaker_bootstrap(*world, metric, 50)
    shuffled = [array[order] for array in world]
    assert speaker_bootstrap(*shuffled, metric, 50) == interval
    assert speaker_bootstrap(*world, metric, 50, seed=1) != interval


def test_resamples_of_one_class_are_drawn_again():
    """Of two speakers, half of all draws take one of them twice."""
    value = speaker_bootstrap(
        [0.9, 0.1], [1, 0], ["a", "a"], ["a", "b"], equal_error_rate, 50
    )
    assert value == (0.0, 0.0)


@pytest.mark.parametrize(
    ("enrol", "test", "message"),
    [
        ("ab", "ab", "1 trials contradict .* trial 1, is_target = False"),
        ("aa", "bb", "1 trials contradict .* trial 0, is_target = True"),
        ("aab", "ab", r"enrol_speakers \(3\) and test_speakers \(2\)"),
    ],
)
def test_speakers_that_contradict_the_trials_are_refused(enrol, test, message):
    with pytest.raises(ValueError, match=message):
        speaker_bootstrap(
            [0.9, 0.1], [1, 0], list(enrol), list(test), equal_error_rate
        )


def test_the_interval_corrects_a_metric_that_is_biased_down():
    """All resamples below the value: the interval is their upper end."""
    values = iter([2.0, *np.linspace(0.0, 1.0, 100)])

    def metric(scores, is_target, weights):
        return next(values), 0.0

    low, high = speaker_bootstrap(
        [0.9, 0.8, 0.1], [1, 1, 0], list("aba"), list("abb"), metric, 100
    )
    assert 0.99 < low <= high <= 1.0


def test_several_metrics_share_their_resamples():
    world = speaker_world(4, size=600)
    estimates = speaker_intervals(*world, METRICS.values(), 30, seed=5)
    for metric, estimate in zip(METRICS.values(), estimates, strict=True):
        assert estimate.value == metric(*world[:2])[0]
        assert estimate[1:] == speaker_bootstrap(*world, metric, 30, seed=5)


def test_the_interval_of_an_eer_is_that_of_its_quantiles():
    """Bit for bit: reports that were written remain what would be written."""
    world = speaker_world(3, num_speakers=5, size=60)
    values = plainly_resampled(world, equal_error_rate, 50, 7)[:, 0]
    value, _ = equal_error_rate(*world[:2])
    interval = speaker_bootstrap(*world, equal_error_rate, 50, seed=7)
    assert interval == bias_corrected(values, value)[1:]


def test_no_resamples_are_refused():
    with pytest.raises(ValueError, match=r"num_resamples \(0\)"):
        speaker_bootstrap([1, 0], [1, 0], "aa", "ab", equal_error_rate, 0)


def seconds_of_comparing(num_resamples):
    """Of the processor, for others may use it too: EER and minDCF."""
    keep_freed_memory()  # as the commands do
    world = speaker_world(0, size=37_720, num_systems=2)
    start = time.process_time()
    for metric in METRICS.values():
        compare_systems(*world, metric, num_resamples)
    return time.process_time() - start


def test_comparing_on_voxceleb1_takes_seconds():
    """A fiftieth of the long test below, in at most twice that time.

    And a second for the costs that leave out each speaker of two systems.
    """
    assert seconds_of_comparing(num_resamples=20) < 2 * 20 / 50 + 1


@pytest.mark.long
def test_a_thousand_resamples_take_less_than_20_s():
    assert seconds_of_comparing(num_resamples=1000) < 20
