"""Development trials: balanced, distinct, and a function of the data."""

import time
from collections import Counter

import numpy as np
import pytest

from custom_modules.trial_sampling import draw_trials
from custom_modules.trials import speaker_id


def utterances(num_speakers=6, num_sessions=3, num_each=4, known=True):
    """Names and labels of speakers of alternating gender."""
    names = [
        (f"s{speaker:03}", f"v{session}", f"{k:02}")
        for speaker in range(num_speakers)
        for session in range(num_sessions)
        for k in range(num_each)
    ]
    return {
        "utt_ids": ["/".join(name) for name in names],
        "spk_ids": [spk_id for spk_id, _, _ in names],
        "session_ids": [session for _, session, _ in names],
        "genders": ["fm"[int(n[0][1:]) % 2] if known else None for n in names],
    }


def pairs(trials, of_target):
    kept = zip(trials.enrol, trials.test, trials.is_target, strict=True)
    return [(a, b) for a, b, is_target in kept if is_target == of_target]


def session_id(name):
    return name.rsplit("/", 1)[0]


def is_female(name):
    return int(speaker_id(name)[1:]) % 2 == 0


def num_same_gender(impostors):
    return sum(is_female(a) == is_female(b) for a, b in impostors)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("num_trials", [2, 3, 101, 400, 100_000])
def test_trials_are_distinct_labelled_right_and_balanced(num_trials, known):
    data = utterances(known=known)
    trials = draw_trials(**data, num_trials=num_trials)
    unordered = {frozenset(p) for p in zip(*trials[:2], strict=True)}
    assert len(unordered) == len(trials.enrol)
    assert {len(pair) for pair in unordered} == {2}
    for a, b in pairs(trials, True):
        assert speaker_id(a) == speaker_id(b)
        assert session_id(a) != session_id(b)
    for a, b in pairs(trials, False):
        assert speaker_id(a) != speaker_id(b)
    # Six speakers have 66 - 3 * 6 = 48 pairs of different sessions each.
    half = min(num_trials // 2, 6 * 48)
    assert len(pairs(trials, True)) == len(pairs(trials, False)) == half


def test_half_of_the_impostors_are_of_one_gender():
    trials = draw_trials(**utterances(), num_trials=400)
    impostors = pairs(trials, False)
    assert num_same_gender(impostors) == len(impostors) // 2


def test_impostors_of_one_gender_fill_up_with_the_other():
    """Two women and one man have 4 pairs of one gender, 8 of two."""
    data = utterances(num_speakers=3, num_sessions=2, num_each=1)
    extra = utterances(num_speakers=3, num_sessions=6, num_each=1)
    impostors = pairs(draw_trials(**data), False)
    assert len(impostors) == 3  # as many as targets
    impostors = pairs(draw_trials(**extra, num_trials=90), False)
    assert len(impostors) == 45
    # All the others were wanted 23 times; 36 pairs are of one gender.
    assert num_same_gender(impostors) == 22
    data["genders"] = ["f"] * 6
    assert len(pairs(draw_trials(**data), False)) == 3


def test_speakers_of_unknown_gender_have_their_share():
    """Two known speakers of eight are not half of the impostors."""
    data = utterances(num_speakers=8)
    data["genders"] = [
        "f" if spk_id in ("s000", "s001") else None
        for spk_id in data["spk_ids"]
    ]
    impostors = pairs(draw_trials(**data, num_trials=560), False)
    known = {"s000", "s001"}
    both = sum({speaker_id(a), speaker_id(b)} == known for a, b in impostors)
    # 280 over 28 pairs of speakers are 10 each; half of those of known
    # gender should be of two, but there are none, and all strata fill up.
    assert 5 <= both <= 10


def test_speakers_have_equal_shares():
    trials = draw_trials(**utterances(), num_trials=600)
    targets = Counter(speaker_id(a) for a, _ in pairs(trials, True))
    assert set(targets.values()) == {48}
    impostors = Counter(
        speaker_id(name) for pair in pairs(trials, False) for name in pair
    )
    assert sum(impostors.values()) == 576
    assert max(impostors.values()) - min(impostors.values()) <= 6


def test_a_small_speaker_gives_all_and_the_others_the_rest():
    data = utterances(num_speakers=3, known=False)
    kept = [k for k in range(36) if not 2 <= k < 12]  # two of s000
    data = {key: [values[k] for k in kept] for key, values in data.items()}
    data["session_ids"][:2] = ["v0", "v1"]
    trials = draw_trials(**data, num_trials=82)
    targets = Counter(speaker_id(a) for a, _ in pairs(trials, True))
    assert targets == {"s000": 1, "s001": 20, "s002": 20}


def test_a_speaker_of_one_session_gives_pairs_within_it():
    data = utterances(num_speakers=2, num_sessions=1, num_each=3)
    targets = pairs(draw_trials(**data), True)
    assert Counter(speaker_id(a) for a, _ in targets) == {"s000": 3, "s001": 3}


def test_sessions_of_one_name_differ_between_speakers():
    """A session's name need be unique within its speaker alone."""
    data = utterances()
    own = [
        f"{s}{v}"
        for s, v in zip(data["spk_ids"], data["session_ids"], strict=True)
    ]
    plain, renamed = (
        draw_trials(**data),
        draw_trials(**{**data, "session_ids": own}),
    )
    assert plain.enrol == renamed.enrol


def test_trials_do_not_depend_on_the_order_of_the_utterances():
    data = utterances()
    order = np.random.default_rng(0).permutation(len(data["utt_ids"]))
    shuffled = {key: [v[k] for k in order] for key, v in data.items()}
    left = draw_trials(**data, num_trials=100)
    np.random.seed(1)  # the global state has no say
    right = draw_trials(**shuffled, num_trials=100)
    assert left[:2] == right[:2]
    assert left.is_target.tolist() == right.is_target.tolist()


def test_another_seed_draws_other_trials():
    one, two = (
        draw_trials(**utterances(), num_trials=100, seed=seed)
        for seed in (0, 1)
    )
    assert set(zip(*one[:2], strict=True)) != set(zip(*two[:2], strict=True))


def test_either_utterance_may_be_enrolled():
    trials = draw_trials(**utterances(), num_trials=400)
    rising = np.mean(np.array(trials.enrol) < np.array(trials.test))
    assert 0.4 < rising < 0.6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_trials": 1}, r"num_trials \(1\) must be 2 or more"),
        ({"spk_ids": ["a"] * 4}, "two speakers, got 1; set more"),
        ({"spk_ids": list("abcd")}, "each of the 4 speakers has one"),
        ({"spk_ids": list("abc")}, "but have 4, 3, 4, 4"),
        ({"utt_ids": list("1123")}, "1 of 4 utt_ids are repeated"),
        (
            {"genders": ["f", "m", "f", None]},
            r"speaker a has genders \['f', 'm'\]",
        ),
    ],
)
def test_utterances_that_give_no_trials_are_refused(changes, message):
    data = {
        "utt_ids": list("1234"),
        "spk_ids": list("aabb"),
        "session_ids": list("1212"),
    }
    with pytest.raises(ValueError, match=message):
        draw_trials(**{**data, **changes})


def test_no_utterances_are_refused():
    with pytest.raises(ValueError, match="two speakers, got 0"):
        draw_trials([], [], [])


def test_voxceleb_sized_trials_take_a_moment():
    """The aim is one second; other work may share the machine."""
    data = utterances(num_speakers=40, num_sessions=20, num_each=6)
    start = time.perf_counter()
    trials = draw_trials(**data)
    assert time.perf_counter() - start < 3.0
    assert len(trials.enrol) == 20_000
