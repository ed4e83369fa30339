"""Groups of trials against plain loops over them."""

import numpy as np
import pytest
from report_groups import rate_durations, rate_genders

from custom_modules.metrics import equal_error_rate
from custom_modules.scoring import Trials

GENDERS = {"a": "f", "b": "f", "c": "m", "d": "m"}  # e's is not known
DURATIONS = {
    f"{speaker}/s/{i}": 2.0 + i + 0.1 * place
    for place, speaker in enumerate("abcd")
    for i in range(3)
}


@pytest.fixture
def scored():
    names = [f"{speaker}/s/{i}" for speaker in "abcde" for i in range(3)]
    pairs = [(one, other) for one in names for other in names if one < other]
    enrol, test = (list(side) for side in zip(*pairs, strict=True))
    is_target = np.array([one[0] == other[0] for one, other in pairs])
    rng = np.random.default_rng(0)
    return Trials(enrol, test, is_target), rng.normal(size=len(pairs))


def eer_of(trials, scores, is_chosen):
    rows = [
        (score, is_target)
        for score, is_target, one, other in zip(
            scores, trials.is_target, trials.enrol, trials.test, strict=True
        )
        if is_chosen(one, other)
    ]
    kept, truths = zip(*rows, strict=True)
    return len(rows), 100 * equal_error_rate(kept, truths)[0]


def test_a_genders_trials_have_it_on_both_sides(scored):
    groups = rate_genders(*scored, GENDERS, 10, 0)
    for rate, speakers in zip(groups.rates, ("ab", "cd"), strict=True):
        expected = eer_of(
            *scored,
            lambda one, other, speakers=speakers: (
                one[0] in speakers and other[0] in speakers
            ),
        )
        assert (rate.num_trials, rate.eer_percent) == expected
        low, high = rate.interval_percent
        assert 0 <= low <= high <= 100
    in_groups = sum(rate.num_trials for rate in groups.rates)
    assert groups.num_left_out == len(scored[1]) - in_groups > 0


def test_durations_are_those_of_the_shorter_utterance_in_thirds(scored):
    trials, scores = scored
    groups = rate_durations(*scored, DURATIONS, 10, 0)
    shorter = sorted(
        min(DURATIONS[one], DURATIONS[other])
        for one, other in zip(trials.enrol, trials.test, strict=True)
        if one in DURATIONS and other in DURATIONS
    )
    bounds = [
        shorter[round(part * (len(shorter) - 1))] for part in (1 / 3, 2 / 3)
    ]
    edges = [0.0, *bounds, np.inf]
    for place, rate in enumerate(groups.rates):
        expected = eer_of(
            *scored,
            lambda one, other, low=edges[place], high=edges[place + 1]: (
                low
                < min(DURATIONS.get(one, -1), DURATIONS.get(other, -1))
                <= high
            ),
        )
        assert (rate.num_trials, rate.eer_percent) == expected
    assert groups.num_left_out == len(scores) - len(shorter) > 0


def test_a_group_of_one_class_has_no_rate(scored):
    groups = rate_genders(*scored, {"a": "f"}, 10, 0)
    women, men = groups.rates
    assert (women.num_trials, women.num_target_trials) == (3, 3)
    assert women.eer_percent is women.interval_percent is None
    assert (men.num_trials, men.eer_percent) == (0, None)


def test_without_a_duration_there_are_no_groups(scored):
    assert rate_durations(*scored, {}, 10, 0) == ([], len(scored[1]))


def test_durations_that_are_all_the_same_are_one_group(scored):
    same = dict.fromkeys(DURATIONS, 3.0)
    first, *others = rate_durations(*scored, same, 10, 0).rates
    assert first.num_trials == 66
    assert [rate.num_trials for rate in others] == [0, 0]
