"""Trials drawn from labelled utterances, as development data.

Half are target trials. Speakers, and for non-targets pairs of speakers,
have as nearly equal shares as their utterances allow.
"""

from bisect import bisect
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from custom_modules.trials import Trials

Pairs = list[tuple[str, str]]


def _spread(
    total: int, capacities: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Share `total` as equally as the capacities allow (their sum at most)."""

    def taken(level: int) -> int:
        return int(np.minimum(capacities, level).sum())

    level = bisect(range(total + 1), total, key=taken) - 1
    counts = np.minimum(capacities, level)
    # What is left is less than one each: a random choice of those with room.
    room = np.flatnonzero(capacities > level)
    extra = generator.permutation(room)[: total - int(counts.sum())]
    counts[extra] += 1
    return counts


def _by_speaker(
    utt_ids: Sequence[str],
    spk_ids: Sequence[str],
    session_ids: Sequence[str],
    genders: Sequence[str | None],
) -> tuple[dict[str, list[tuple[str, str]]], dict[str, str | None]]:
    """Sorted (utterance, session) pairs and the gender of each speaker."""
    numbers = [len(x) for x in (utt_ids, spk_ids, session_ids, genders)]
    if len(set(numbers)) > 1:
        raise ValueError(
            "utt_ids, spk_ids, session_ids and genders need one entry per "
            f"utterance, but have {', '.join(map(str, numbers))}"
        )
    if len(set(utt_ids)) < len(utt_ids):
        raise ValueError(
            f"{len(utt_ids) - len(set(utt_ids))} of {len(utt_ids)} utt_ids "
            "are repeated; give each utterance once"
        )
    utterances, known = defaultdict(list), defaultdict(set)
    rows = zip(utt_ids, spk_ids, session_ids, genders, strict=True)
    for utt_id, spk_id, session_id, gender in rows:
        utterances[spk_id].append((utt_id, session_id))
        known[spk_id] |= {gender} - {None}
    for spk_id in sorted(known):
        if len(known[spk_id]) > 1:
            raise ValueError(
                f"speaker {spk_id} has genders {sorted(known[spk_id])}; give "
                "one for all utterances of a speaker, or None"
            )
    speakers = {
        spk_id: sorted(utterances[spk_id]) for spk_id in sorted(utterances)
    }
    return speakers, {s: next(iter(known[s]), None) for s in speakers}


def _target_pairs(utterances: list[tuple[str, str]]) -> np.ndarray:
    """Index pairs (pairs, 2) of a speaker, of two sessions if it has two."""
    sessions = np.unique([s for _, s in utterances], return_inverse=True)[1]
    first, second = np.triu_indices(len(utterances), k=1)
    if sessions.any():  # more than one session
        differ = sessions[first] != sessions[second]
        first, second = first[differ], second[differ]
    return np.stack([first, second], axis=1)


def _draw_impostors(
    num_pairs: int,
    speakers: list[list[str]],
    genders: list[str | None],
    generator: np.random.Generator,
) -> Pairs:
    """Draw pairs of utterances of two speakers, half of one gender."""
    first, second = np.array(list(combinations(range(len(speakers)), 2))).T
    sizes = np.array([len(utt_ids) for utt_ids in speakers])
    capacities = sizes[first] * sizes[second]
    codes = {g: code for code, g in enumerate(sorted({*genders} - {None}))}
    gender = np.array([codes.get(g, -1) for g in genders])
    is_unknown = (gender[first] < 0) | (gender[second] < 0)
    is_same = ~is_unknown & (gender[first] == gender[second])
    strata = [is_unknown, is_same, ~(is_unknown | is_same)]
    # Pairs of speakers of unknown gender have their share of all; of the
    # rest, one half is of the same gender. What one stratum cannot give,
    # the others do.
    unknown = round(num_pairs * is_unknown.mean())
    same = (num_pairs - unknown) // 2
    wanted = np.array([unknown, same, num_pairs - unknown - same])
    room = np.array([capacities[stratum].sum() for stratum in strata])
    shares = np.minimum(wanted, room)
    shares += _spread(num_pairs - shares.sum(), room - shares, generator)

    counts = np.zeros_like(capacities)
    for stratum, share in zip(strata, shares.tolist(), strict=True):
        counts[stratum] = _spread(share, capacities[stratum], generator)
    pairs = []
    for k in np.flatnonzero(counts):
        ones, others = speakers[first[k]], speakers[second[k]]
        drawn = generator.choice(capacities[k], counts[k], replace=False)
        pairs += [
            (ones[p // len(others)], others[p % len(others)])
            for p in drawn.tolist()
        ]
    return pairs


def draw_trials(
    utt_ids: Sequence[str],
    spk_ids: Sequence[str],
    session_ids: Sequence[str],
    genders: Sequence[str | None] | None = None,
    num_trials: int = 20_000,
    seed: int = 0,
) -> Trials:
    """Draw trials, one half of them target trials, none of them twice.

    Targets are from different sessions where the speaker has more than one;
    a speaker of one session gives pairs within it. Half of the non-targets
    whose speakers' genders are both known are of the same gender, as far as
    there are so many. Where either class has fewer pairs than
    ``num_trials // 2``, both have that fewer. The trials depend on the
    utterances and the seed, not on the order the utterances come in.

    Arguments
    ---------
    utt_ids : Sequence[str]
        Unique names (utterances,).
    spk_ids : Sequence[str]
        The speaker of each (utterances,).
    session_ids : Sequence[str]
        The recording of each (utterances,), unique within the speaker.
    genders : Sequence[str | None] | None
        Of the speaker of each (utterances,); None where unknown.
    num_trials : int
        At most, 2 or more.
    seed : int
        Of the draw.

    Returns
    -------
    trials : Trials
        Of `utt_ids`, shuffled.

    Raises
    ------
    ValueError
        For fewer than two speakers, no speaker with two utterances,
        repeated utterances, or a speaker of two genders.

    Example
    -------
    >>> utt_ids = ["a/1/1", "a/1/2", "a/2/1", "b/1/1"]
    >>> trials = draw_trials(utt_ids, list("aaab"), list("1121"))
    >>> np.array(utt_ids)[trials.is_target.nonzero()].size
    2
    >>> len(trials.enrol)
    4
    """
    if num_trials < 2:
        raise ValueError(f"num_trials ({num_trials}) must be 2 or more")
    genders = [None] * len(utt_ids) if genders is None else genders
    speakers, gender_of = _by_speaker(utt_ids, spk_ids, session_ids, genders)
    if len(speakers) < 2:
        raise ValueError(
            f"non-target trials need two speakers, got {len(speakers)}; set "
            "more speakers aside"
        )
    candidates = [_target_pairs(pairs) for pairs in speakers.values()]
    capacities = np.array([len(pairs) for pairs in candidates])
    names = [[utt_id for utt_id, _ in pairs] for pairs in speakers.values()]
    sizes = np.array([len(utt_ids) for utt_ids in names])
    if not capacities.any():
        raise ValueError(
            f"target trials need two utterances of a speaker, but each of "
            f"the {len(speakers)} speakers has one; set speakers with more "
            "utterances aside"
        )
    num_impostors = int(sizes.sum() ** 2 - (sizes**2).sum()) // 2
    half = min(num_trials // 2, int(capacities.sum()), num_impostors)

    generator = np.random.default_rng(seed)
    counts = _spread(half, capacities, generator)
    targets = [
        (utt_ids[i], utt_ids[j])
        for utt_ids, pairs, count in zip(names, candidates, counts, strict=True)
        for i, j in generator.choice(pairs, count, replace=False)
    ]
    impostors = _draw_impostors(
        half, names, list(gender_of.values()), generator
    )
    pairs = targets + impostors
    order = generator.permutation(2 * half)
    # Either utterance may be the enrolled one.
    swaps = generator.integers(2, size=2 * half)
    return Trials(
        [pairs[k][swaps[k]] for k in order],
        [pairs[k][1 - swaps[k]] for k in order],
        order < half,
    )
