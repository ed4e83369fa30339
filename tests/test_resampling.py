"""Speakers left out and drawn again: see tests/test_bootstrap.py for more."""

import numpy as np

from custom_modules.metrics import equal_error_rate
from custom_modules.resampling import leave_out


def test_a_speaker_that_is_left_out_is_in_no_trial():
    """As if the list had never had them."""
    generator = np.random.default_rng(0)
    enrol, test = generator.integers(6, size=(2, 300))
    test[::2] = enrol[::2]
    is_target = enrol == test
    scores = generator.normal(size=300) + is_target
    values = leave_out(scores, is_target, enrol, test, equal_error_rate)
    expected = []
    for speaker in range(6):
        kept = [
            trial
            for trial in range(300)
            if speaker not in (enrol[trial], test[trial])
        ]
        expected.append(equal_error_rate(scores[kept], is_target[kept])[0])
    assert values.tolist() == expected


def test_a_speaker_without_whom_a_class_is_empty_stays():
    """Of two speakers nobody can be left out: no non-target would be left."""
    enrol, test = np.array([0, 1, 0]), np.array([0, 1, 1])
    values = leave_out(
        np.zeros(3), enrol == test, enrol, test, equal_error_rate
    )
    assert values.size == 0
