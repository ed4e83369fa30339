"""Synthetic speakers: what a voice is, its moods, and the phones it says.

A voice is what stays: pitch, glottal pulse, vocal tract length, and the
formants that this speaker gives to each phone. A mood is what a session
changes: pitch, effort, rate. `synthetic_speech` lets them speak.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

NUM_FORMANTS = 5


class Phone(NamedTuple):
    """Targets of one phone, spoken by an average man.

    Arguments
    ---------
    formants : tuple[int, int, int]
        F1 to F3 in Hz.
    seconds : float
        Typical duration.
    voicing : float
        Amplitude of the glottal pulses; 1 in vowels.
    noise : float
        Amplitude of the frication noise, on the same scale.
    centre : float
        Peak of the noise in Hz.
    width : float
        Standard deviation of the noise's spectrum, in octaves.
    """

    formants: tuple[int, int, int]
    seconds: float
    voicing: float
    noise: float = 0.0
    centre: float = 4000.0
    width: float = 0.5


# Vowels: Peterson and Barney (1952), men. i, I, E, ae, a, o, U, u, uh, er.
VOWELS = (
    Phone((270, 2290, 3010), 0.12, 1.0),
    Phone((390, 1990, 2550), 0.09, 1.0),
    Phone((530, 1840, 2480), 0.10, 1.0),
    Phone((660, 1720, 2410), 0.13, 1.0),
    Phone((730, 1090, 2440), 0.13, 1.0),
    Phone((570, 840, 2410), 0.13, 1.0),
    Phone((440, 1020, 2240), 0.09, 1.0),
    Phone((300, 870, 2240), 0.11, 1.0),
    Phone((640, 1190, 2390), 0.09, 1.0),
    Phone((490, 1350, 1690), 0.12, 1.0),
)
# Each consonant is a sequence of phones: a stop is a gap and a burst.
CONSONANTS = (
    (Phone((250, 1100, 2200), 0.07, 0.5),),  # m
    (Phone((250, 1500, 2500), 0.07, 0.5),),  # n
    (Phone((360, 1300, 2700), 0.06, 0.7),),  # l
    (Phone((310, 1060, 1400), 0.06, 0.7),),  # r
    (Phone((290, 650, 2150), 0.06, 0.7),),  # w
    (Phone((260, 2070, 3020), 0.06, 0.7),),  # j
    (Phone((320, 1400, 2500), 0.11, 0.0, 0.45, 6000, 0.3),),  # s
    (Phone((320, 1700, 2500), 0.11, 0.0, 0.45, 3200, 0.35),),  # sh
    (Phone((320, 1000, 2400), 0.09, 0.0, 0.12, 4500, 1.0),),  # f
    (Phone((300, 1400, 2500), 0.08, 0.4, 0.2, 6000, 0.3),),  # z
    (Phone((300, 1000, 2400), 0.06, 0.5, 0.06, 4500, 1.0),),  # v
    (  # p
        Phone((300, 900, 2300), 0.06, 0.0),
        Phone((350, 900, 2300), 0.02, 0.0, 0.35, 1000, 0.8),
    ),
    (  # t
        Phone((300, 1700, 2600), 0.06, 0.0),
        Phone((350, 1700, 2600), 0.03, 0.0, 0.45, 4200, 0.5),
    ),
    (  # k
        Phone((300, 1900, 2300), 0.06, 0.0),
        Phone((350, 1900, 2300), 0.03, 0.0, 0.45, 2000, 0.4),
    ),
    (  # b
        Phone((200, 900, 2300), 0.05, 0.15),
        Phone((300, 900, 2300), 0.02, 0.3, 0.2, 1000, 0.8),
    ),
    (  # d
        Phone((200, 1700, 2600), 0.05, 0.15),
        Phone((300, 1700, 2600), 0.02, 0.3, 0.25, 4200, 0.5),
    ),
)
PAUSE = Phone((500, 1500, 2500), 0.2, 0.0)
# One row of a voice's formant offsets for each vowel, consonant and pause.
NUM_OFFSETS = len(VOWELS) + len(CONSONANTS) + 1


class Voice(NamedTuple):
    """What makes a speaker, the same in all sessions.

    Arguments
    ---------
    f0 : float
        Median pitch in Hz.
    accent : float
        Typical height of a pitch accent in semitones.
    tract : float
        Factor on every formant: 1 for an average man's vocal tract, more
        for a shorter one.
    formant_offsets : NDArray
        Logarithmic (NUM_OFFSETS, NUM_FORMANTS): this speaker's own way of
        saying each phone.
    bandwidth : float
        Factor on every formant's bandwidth.
    open_quotient : float
        Share of the period in which the glottis is open, in (0, 1).
    tilt : float
        Slope of the source above 500 Hz in dB per octave, on top of the
        pulse's own.
    breath : float
        Aspiration noise relative to the pulses.
    jitter, shimmer : float
        Relative standard deviation of period and amplitude.
    frication : float
        Factor on the peak frequencies of the noises.
    rate : float
        Speaking rate; 1 is average.
    """

    f0: float
    accent: float
    tract: float
    formant_offsets: NDArray
    bandwidth: float
    open_quotient: float
    tilt: float
    breath: float
    jitter: float
    shimmer: float
    frication: float
    rate: float


class Mood(NamedTuple):
    """What a session changes in a voice.

    Arguments
    ---------
    pitch : float
        Shift of the median pitch in semitones.
    tilt : float
        Vocal effort: added to the source's slope, in dB per octave.
    rate : float
        Factor on the speaking rate.
    """

    pitch: float
    tilt: float
    rate: float


def draw_voice(gender: str, rng: Generator) -> Voice:
    """Draw a speaker; men and women differ in pitch and tract length alone.

    The spreads are those of the literature, but for the formant offsets,
    which are generous: they are what a network can learn to hear in any
    channel.

    Arguments
    ---------
    gender : str
        "m" or "f".
    rng : Generator
        Source of randomness.

    Returns
    -------
    voice : Voice

    Raises
    ------
    ValueError
        If the gender is neither.

    Example
    -------
    >>> voice = draw_voice("m", np.random.default_rng(0))
    >>> bool(60 < voice.f0 < 220)
    True
    """
    if gender not in ("m", "f"):
        raise ValueError(f"gender must be 'm' or 'f', not {gender!r}")
    f0, tract = (118.0, 1.0) if gender == "m" else (205.0, 1.15)
    common = rng.normal(0.0, 1.0, NUM_FORMANTS) * (0.05, 0.06, 0.06, 0.07, 0.07)
    own = rng.normal(0.0, 0.05, (NUM_OFFSETS, NUM_FORMANTS))
    return Voice(
        f0=f0 * np.exp(rng.normal(0.0, 0.16)),
        accent=rng.uniform(1.0, 4.0),
        tract=tract * np.exp(rng.normal(0.0, 0.06)),
        formant_offsets=common + own,
        bandwidth=np.exp(rng.normal(0.0, 0.25)),
        open_quotient=rng.uniform(0.4, 0.85),
        tilt=rng.uniform(-7.0, 2.0),
        breath=np.exp(rng.uniform(np.log(0.01), np.log(0.5))),
        jitter=rng.uniform(0.003, 0.02),
        shimmer=rng.uniform(0.02, 0.12),
        frication=np.exp(rng.normal(0.0, 0.12)),
        rate=np.exp(rng.normal(0.0, 0.15)),
    )


def draw_mood(rng: Generator) -> Mood:
    """Draw the state of a voice in one session.

    Arguments
    ---------
    rng : Generator
        Source of randomness.

    Returns
    -------
    mood : Mood

    Example
    -------
    >>> abs(draw_mood(np.random.default_rng(0)).pitch) < 4
    True
    """
    return Mood(
        pitch=rng.normal(0.0, 0.7),
        tilt=rng.normal(0.0, 0.5),
        rate=np.exp(rng.normal(0.0, 0.08)),
    )
