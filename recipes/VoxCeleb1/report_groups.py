"""Error rates of groups of trials: by gender, and by duration."""

from typing import NamedTuple

import numpy as np

from custom_modules.metrics import equal_error_rate, speaker_bootstrap
from custom_modules.scoring import Trials, speaker_id, utterance_id

GENDERS = {"f": "female", "m": "male"}


class GroupRate(NamedTuple):
    """Error rate of a group of trials.

    Arguments
    ---------
    name : str
        Of the group.
    num_trials : int
        Of the group.
    num_target_trials : int
        Of these.
    eer_percent : float | None
        None where the group has one class of trials alone, or none.
    interval_percent : tuple[float, float] | None
        95 % over speakers.
    """

    name: str
    num_trials: int
    num_target_trials: int
    eer_percent: float | None
    interval_percent: tuple[float, float] | None


class Groups(NamedTuple):
    """Trials by one property.

    Arguments
    ---------
    rates : list[GroupRate]
        Of each group.
    num_left_out : int
        Trials in none of the groups.
    """

    rates: list[GroupRate]
    num_left_out: int


def rate_genders(
    trials: Trials,
    scores: np.ndarray,
    genders: dict[str, str],
    num_resamples: int,
    seed: int,
) -> Groups:
    """Error rates of the trials between women, and of those between men.

    Arguments
    ---------
    trials : Trials
        The trials.
    scores : np.ndarray
        (trials,).
    genders : dict[str, str]
        "m" or "f" of speakers; trials of others are in no group.
    num_resamples, seed : int
        Of the bootstrap over speakers.

    Returns
    -------
    groups : Groups
        Of two; trials of two genders are left out.

    Example
    -------
    >>> names = ["a/s/1", "a/s/1", "a/s/1", "c/s/1"]
    >>> others = ["a/s/2", "b/s/1", "c/s/1", "c/s/2"]
    >>> trials = Trials(names, others, np.array([True, False, False, True]))
    >>> scores = np.array([0.9, 0.1, 0.2, 0.8])
    >>> genders = {"a": "f", "b": "f", "c": "m"}
    >>> women, men = rate_genders(trials, scores, genders, 10, 0).rates
    >>> women.num_trials, women.eer_percent
    (2, 0.0)
    >>> men
    GroupRate(name='male', num_trials=1, num_target_trials=1, \
eer_percent=None, interval_percent=None)
    """
    enrol, test = (
        np.array([genders.get(speaker_id(name), "") for name in names])
        for names in (trials.enrol, trials.test)
    )
    masks = {
        name: (enrol == gender) & (test == gender)
        for gender, name in GENDERS.items()
    }
    return _rate(trials, scores, masks, num_resamples, seed)


def rate_durations(
    trials: Trials,
    scores: np.ndarray,
    durations: dict[str, float],
    num_resamples: int,
    seed: int,
) -> Groups:
    """Error rates of thirds of the trials, by their shorter utterance.

    Arguments
    ---------
    trials : Trials
        The trials.
    scores : np.ndarray
        (trials,).
    durations : dict[str, float]
        In s, of utterances; trials of others are in no group.
    num_resamples, seed : int
        Of the bootstrap over speakers.

    Returns
    -------
    groups : Groups
        Of three, the shortest first; none where no duration is known.

    Example
    -------
    >>> names = ["a/s/1"] * 6
    >>> others = ["a/s/2", "b/s/1", "a/s/3", "b/s/2", "a/s/4", "b/s/3"]
    >>> trials = Trials(names, others, np.array([True, False] * 3))
    >>> seconds = {"a/s/1": 9.0, "a/s/2": 2.0, "b/s/1": 2.0, "a/s/3": 4.0}
    >>> seconds |= {"b/s/2": 4.0, "a/s/4": 8.0, "b/s/3": 8.0}
    >>> scores = np.array([0.1, 0.2, 0.9, 0.1, 0.9, 0.1])
    >>> groups = rate_durations(trials, scores, seconds, 10, 0)
    >>> [(rate.name, rate.eer_percent) for rate in groups.rates]
    [('up to 2.0 s', 100.0), ('2.0 to 4.0 s', 0.0), ('over 4.0 s', 0.0)]
    """
    enrol, test = (
        np.array([durations.get(utterance_id(name), np.nan) for name in names])
        for names in (trials.enrol, trials.test)
    )
    shorter = np.minimum(enrol, test)  # NaN where either is
    if np.isnan(shorter).all():
        return Groups([], len(scores))
    low, high = np.nanquantile(shorter, (1 / 3, 2 / 3), method="lower")
    masks = {
        f"up to {low:.1f} s": shorter <= low,
        f"{low:.1f} to {high:.1f} s": (shorter > low) & (shorter <= high),
        f"over {high:.1f} s": shorter > high,
    }
    return _rate(trials, scores, masks, num_resamples, seed)


def _rate(
    trials: Trials,
    scores: np.ndarray,
    masks: dict[str, np.ndarray],
    num_resamples: int,
    seed: int,
) -> Groups:
    enrol = np.array([speaker_id(name) for name in trials.enrol])
    test = np.array([speaker_id(name) for name in trials.test])
    rates = []
    for name, chosen in masks.items():
        is_target = trials.is_target[chosen]
        num_targets = int(np.count_nonzero(is_target))
        eer, interval = None, None
        if 0 < num_targets < len(is_target):
            fraction, _ = equal_error_rate(scores[chosen], is_target)
            eer = 100 * float(fraction)
            low, high = speaker_bootstrap(
                scores[chosen],
                is_target,
                enrol[chosen],
                test[chosen],
                equal_error_rate,
                num_resamples,
                seed,
            )
            interval = (100 * float(low), 100 * float(high))
        rates.append(
            GroupRate(name, len(is_target), num_targets, eer, interval)
        )
    num_grouped = sum(rate.num_trials for rate in rates)
    return Groups(rates, len(scores) - num_grouped)
