"""The worst trials, and recordings small enough for a page."""

import io
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import soundfile

from custom_modules.audio import read_audio
from custom_modules.scoring import Trials, utterance_id

SAMPLE_RATE = 16000  # Hz
MAX_SECONDS = 6.0  # of a recording
MIN_SECONDS = 0.1


class WorstTrial(NamedTuple):
    """One trial that a system got most wrong.

    Arguments
    ---------
    rank : int
        1 for the worst.
    score : float
        Of the trial.
    enrol, test : str
        Utterances.
    """

    rank: int
    score: float
    enrol: str
    test: str


class Recordings(NamedTuple):
    """Recordings cut and encoded for a page.

    Arguments
    ---------
    flac : dict[str, bytes]
        16 kHz, mono, 16 bits, by utterance.
    max_seconds : float
        That longer recordings were cut to.
    problems : dict[str, str]
        Why an utterance is not among these.
    """

    flac: dict[str, bytes]
    max_seconds: float
    problems: dict[str, str]


def worst_trials(
    trials: Trials, scores: np.ndarray, is_target: bool, num_worst: int
) -> list[WorstTrial]:
    """The trials of one class that are furthest on the wrong side.

    Arguments
    ---------
    trials : Trials
        The trials.
    scores : np.ndarray
        (trials,).
    is_target : bool
        True for the target trials of the lowest scores, false rejects; False
        for the non-target trials of the highest, false accepts.
    num_worst : int
        At most so many.

    Returns
    -------
    worst : list[WorstTrial]
        The worst first; of equal scores, in the order of the trials.

    Example
    -------
    >>> trials = Trials(["a/s/1"] * 3, ["b/s/1", "c/s/1", "a/s/2"],
    ...                 np.array([False, False, True]))
    >>> scores = np.array([0.2, 0.6, 0.5])
    >>> worst_trials(trials, scores, is_target=False, num_worst=1)
    [WorstTrial(rank=1, score=0.6, enrol='a/s/1', test='c/s/1')]
    """
    places = np.flatnonzero(trials.is_target == is_target)
    keys = scores[places] if is_target else -scores[places]
    order = places[np.argsort(keys, kind="stable")[:num_worst]]
    return [
        WorstTrial(
            rank,
            float(scores[place]),
            utterance_id(trials.enrol[place]),
            utterance_id(trials.test[place]),
        )
        for rank, place in enumerate(order, start=1)
    ]


def encode_flac(wav: np.ndarray, max_seconds: float) -> bytes:
    """The beginning of a recording, as FLAC of 16 kHz and 16 bits.

    Arguments
    ---------
    wav : np.ndarray
        (samples,) at 16 kHz.
    max_seconds : float
        Of the result.

    Returns
    -------
    flac : bytes
        A file.

    Example
    -------
    >>> flac = encode_flac(np.zeros(32000), max_seconds=1.5)
    >>> soundfile.info(io.BytesIO(flac)).duration
    1.5
    """
    buffer = io.BytesIO()
    samples = np.clip(wav[: round(max_seconds * SAMPLE_RATE)], -1.0, 1.0)
    soundfile.write(
        buffer, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16"
    )
    return buffer.getvalue()


def encode_recordings(
    utt_ids: Iterable[str], utterances: dict[str, str], max_bytes: int
) -> Recordings:
    """Cut recordings to 6 s, or all to less, so that they fit together.

    Arguments
    ---------
    utt_ids : Iterable[str]
        Which.
    utterances : dict[str, str]
        File of each utterance.
    max_bytes : int
        Of all FLAC files together.

    Returns
    -------
    recordings : Recordings
        Without those that have no file, or one that cannot be read.

    Raises
    ------
    ValueError
        Where they do not fit even if cut to 0.1 s.
    """
    wavs, problems = {}, {}
    for utt_id in utt_ids:
        if utt_id not in utterances:
            problems[utt_id] = "there is no file"
            continue
        try:
            wav = read_audio(utterances[utt_id], SAMPLE_RATE)
        except ValueError:
            problems[utt_id] = "the file cannot be read"
            continue
        wavs[utt_id] = wav[: round(MAX_SECONDS * SAMPLE_RATE)].clone().numpy()
    seconds = MAX_SECONDS
    while True:
        flac = {name: encode_flac(wav, seconds) for name, wav in wavs.items()}
        num_bytes = sum(map(len, flac.values()))
        if num_bytes <= max_bytes:
            return Recordings(flac, seconds, problems)
        if seconds <= MIN_SECONDS:
            raise ValueError(
                f"{len(flac)} recordings of {seconds} s take {num_bytes} "
                f"bytes, the report page has {max_bytes} left for them: show "
                "fewer trials"
            )
        # In proportion, a little less, in steps of 0.1 s.
        seconds = math.floor(9.8 * seconds * max_bytes / num_bytes) / 10
        seconds = max(seconds, MIN_SECONDS)
