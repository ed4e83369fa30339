"""Who the drawn speakers are."""

import numpy as np
import pytest
from synthetic_voices import draw_voice


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_men_and_women_differ_and_overlap(rng):
    """Nobody is told apart by gender alone, nor gender by pitch alone."""
    men, women = (
        np.array([draw_voice(gender, rng).f0 for _ in range(500)])
        for gender in "mf"
    )
    assert np.median(women) > 1.5 * np.median(men)
    assert men.max() > women.min()


def test_unknown_gender_is_an_error(rng):
    with pytest.raises(ValueError, match="must be 'm' or 'f', not 'x'"):
        draw_voice("x", rng)
