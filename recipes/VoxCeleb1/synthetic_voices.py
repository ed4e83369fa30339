"""Synthetic speakers: a source-filter synthesiser of babbled syllables.

A voice is what stays: pitch, glottal pulse, vocal tract length, and the
formants that this speaker gives to each phone. A mood is what a session
changes: pitch, effort, rate. Glottal pulses (Rosenberg, "Effect of glottal
pulse shape on the quality of natural vowels", 1971,
https://doi.org/10.1121/1.1912389, type C) and noise pass through a cascade
of resonators (Klatt, "Software for a cascade/parallel formant synthesizer",
1980, https://doi.org/10.1121/1.383940) that moves with the phones.

Everything is a pure function of its arguments: randomness comes from the
generator that the caller passes.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SAMPLE_RATE = 16000  # Hz
HOP = 160  # samples between frames of the tracks, 10 ms
# Five hops: a windowed frame of two, and 30 ms in which its filter rings, in
# which an average voice's narrowest resonance (70 Hz) falls by 57 dB.
FFT_SIZE = 5 * HOP
NUM_FORMANTS = 5
BANDWIDTHS = (70.0, 90.0, 130.0, 200.0, 300.0)  # Hz, of an average voice


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


class Tracks(NamedTuple):
    """What the vocal tract does, one row every HOP samples.

    Arguments
    ---------
    f0 : NDArray
        Pitch in Hz (frames,).
    formants : NDArray
        Resonances in Hz (frames, NUM_FORMANTS).
    voicing, noise : NDArray
        Amplitudes of pulses and frication (frames,).
    centre, width : NDArray
        Peak in Hz and standard deviation in octaves of the frication's
        spectrum (frames,).
    """

    f0: NDArray
    formants: NDArray
    voicing: NDArray
    noise: NDArray
    centre: NDArray
    width: NDArray


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


def babble_tracks(
    voice: Voice, mood: Mood, num_samples: int, rng: Generator
) -> Tracks:
    """Let a voice say random syllables, with accents and pauses.

    Arguments
    ---------
    voice : Voice
        The speaker.
    mood : Mood
        The session.
    num_samples : int
        Length of the utterance at SAMPLE_RATE.
    rng : Generator
        Source of randomness: phones, durations, melody.

    Returns
    -------
    tracks : Tracks

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> mood = Mood(pitch=0.0, tilt=0.0, rate=1.0)
    >>> babble_tracks(draw_voice("f", rng), mood, 16000, rng).formants.shape
    (101, 5)
    """
    num_frames = -(-num_samples // HOP) + 1
    frames_per_second = SAMPLE_RATE / HOP / (voice.rate * mood.rate)
    rows, counts, melody = [], [], []  # one entry per phone

    def say(phone: Phone, offset: int, semitones: float) -> None:
        formants = np.array((*phone.formants, 3400.0, 4400.0))
        formants *= voice.tract * np.exp(voice.formant_offsets[offset])
        centre = phone.centre * voice.frication
        rows.append((*formants, *phone[2:4], centre, phone.width))
        seconds = phone.seconds * np.exp(rng.normal(0.0, 0.2))
        counts.append(max(1, round(seconds * frames_per_second)))
        melody.append(semitones)

    say(PAUSE._replace(seconds=0.06), -1, 0.0)
    declination = 1.5  # semitones, from here down to -1.5 within a phrase
    while sum(counts) < num_frames:
        consonant, vowel = rng.integers((len(CONSONANTS), len(VOWELS)))
        for phone in CONSONANTS[consonant]:
            say(phone, len(VOWELS) + consonant, declination)
        is_accented = rng.random() < 0.4
        accent = is_accented * voice.accent * rng.uniform(0.5, 1.5)
        say(VOWELS[vowel], vowel, declination + accent)
        declination = max(declination - rng.uniform(0.2, 0.6), -1.5)
        if rng.random() < 0.1:
            say(PAUSE, -1, declination)
            declination = 1.5
    frames = np.repeat(np.array(rows), counts, axis=0)[:num_frames]
    melody = np.repeat(melody, counts)[:num_frames]
    # Articulators move in about 60 ms, the larynx slower, closures faster.
    return Tracks(
        f0=voice.f0 * 2 ** ((mood.pitch + _smooth(melody, 15)) / 12),
        formants=_smooth(frames[:, :5], 7),
        voicing=_smooth(frames[:, 5], 3),
        noise=_smooth(frames[:, 6], 3),
        centre=frames[:, 7],
        width=frames[:, 8],
    )


def glottal_pulses(f0: NDArray, voice: Voice, rng: Generator) -> NDArray:
    """Derivative of the flow through a voice's glottis, aspiration included.

    With the phase p in [0, 1) of the period and the open quotient q, the
    flow rises as (1 - cos(pi p / r)) / 2 until r = 2 q / 3, falls as
    cos(3/2 pi (p - r) / q) until the closure at q, then rests.

    Arguments
    ---------
    f0 : NDArray
        Pitch in Hz of each sample (samples,).
    voice : Voice
        Open quotient, breath, jitter and shimmer are used.
    rng : Generator
        Source of randomness.

    Returns
    -------
    source : NDArray
        (samples,), of unit power.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> f0 = np.full(1600, 100.0)
    >>> glottal_pulses(f0, draw_voice("m", rng), rng).shape
    (1600,)
    """
    # Jitter is a factor for each period; the periods of the steady pitch
    # are near enough to those of the jittered one to be their index.
    period = np.cumsum(f0 / SAMPLE_RATE).astype(int)
    factors = 1.0 + voice.jitter * rng.standard_normal(period[-1] + 1)
    phase = rng.random() + np.cumsum(f0 * factors[period] / SAMPLE_RATE)
    period = phase.astype(int)
    amplitudes = 1.0 + voice.shimmer * rng.standard_normal(period[-1] + 1)
    phase -= period
    rise = 2 / 3 * voice.open_quotient
    flow = np.where(
        phase < rise,
        0.5 - 0.5 * np.cos(np.pi * phase / rise),
        np.cos(1.5 * np.pi * (phase - rise) / voice.open_quotient),
    )
    flow *= amplitudes[period] * (phase < voice.open_quotient)
    pulses = np.diff(flow, prepend=flow[0])
    # Turbulence is strongest while air flows, and never quite stops.
    breath = rng.standard_normal(len(f0)) * (0.3 + flow)
    pulses /= np.sqrt(np.mean(pulses**2))
    source = pulses + voice.breath * breath
    return source / np.sqrt(np.mean(source**2))


def render(
    tracks: Tracks, voice: Voice, tilt: float, num_samples: int, rng: Generator
) -> NDArray:
    """Filter pulses and noise frame by frame and overlap-add the frames.

    Each resonator is Klatt's, of unit gain at 0 Hz: A / (1 - B z - C z^2)
    with z = exp(-2 pi i f / SAMPLE_RATE).

    Arguments
    ---------
    tracks : Tracks
        num_samples / HOP rows, rounded up, and one more.
    voice : Voice
        The source and the bandwidths.
    tilt : float
        Slope of the source above 500 Hz, in dB per octave.
    num_samples : int
        Length of the result.
    rng : Generator
        Source of randomness.

    Returns
    -------
    wav : NDArray
        (num_samples,); voiced speech has unit power.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> voice, mood = draw_voice("f", rng), draw_mood(rng)
    >>> tracks = babble_tracks(voice, mood, 8000, rng)
    >>> render(tracks, voice, voice.tilt, 8000, rng).shape
    (8000,)
    """
    num_frames = len(tracks.f0)
    samples = np.arange(num_samples) / HOP
    frames = np.arange(num_frames)
    f0, voicing, noise = (
        np.interp(samples, frames, track)
        for track in (tracks.f0, tracks.voicing, tracks.noise)
    )
    frequencies = np.fft.rfftfreq(FFT_SIZE, 1 / SAMPLE_RATE)
    octaves = np.log2(np.maximum(frequencies, 20.0) / 500.0)
    slope = 10 ** (tilt * np.maximum(octaves, 0.0) / 20)

    # The cascade is one polynomial in z for each frame: its response is the
    # FFT of its coefficients, its gain at 0 Hz is their sum.
    cascade = np.ones((num_frames, 1))
    for formant, bandwidth in zip(tracks.formants.T, BANDWIDTHS, strict=True):
        radius = np.exp(-np.pi * bandwidth * voice.bandwidth / SAMPLE_RATE)
        b = 2 * radius * np.cos(2 * np.pi * formant / SAMPLE_RATE)[:, None]
        c = -(radius**2)
        product = np.pad(cascade, ((0, 0), (0, 2)))
        product[:, 1:-1] -= b * cascade
        product[:, 2:] -= c * cascade
        cascade = product  # (frames, 2 * formants + 1)
    gain = cascade.sum(axis=1, keepdims=True) * slope
    tract = gain / np.fft.rfft(cascade, FFT_SIZE)
    tract = tract.astype(np.complex64)
    voiced = _filter(voicing * glottal_pulses(f0, voice, rng), tract)
    is_voiced = voicing > 0.5
    power = np.mean(voiced[is_voiced] ** 2) if is_voiced.any() else 1.0

    distance = octaves - np.log2(tracks.centre / 500.0)[:, None]
    distance = (distance / tracks.width[:, None]).astype(np.float32)
    mouth = np.exp(-0.5 * distance**2)
    mouth /= np.sqrt(np.mean(mouth**2, axis=1, keepdims=True))
    hiss = _filter(noise * rng.standard_normal(num_samples), mouth)
    return voiced / np.sqrt(power) + hiss


def speak(
    voice: Voice, mood: Mood, num_samples: int, rng: Generator
) -> NDArray:
    """Synthesise an utterance of random syllables.

    Arguments
    ---------
    voice : Voice
        The speaker.
    mood : Mood
        The session.
    num_samples : int
        Length at SAMPLE_RATE.
    rng : Generator
        Source of randomness.

    Returns
    -------
    wav : NDArray
        (num_samples,); voiced speech has unit power.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> speak(draw_voice("m", rng), draw_mood(rng), 16000, rng).shape
    (16000,)
    """
    tracks = babble_tracks(voice, mood, num_samples, rng)
    return render(tracks, voice, voice.tilt + mood.tilt, num_samples, rng)


def _smooth(x: NDArray, size: int) -> NDArray:
    """Average over time with a Hann window of `size` frames, an odd number."""
    window = np.hanning(size + 2)[1:-1]
    window /= window.sum()
    edge = [(size // 2, size // 2)] + [(0, 0)] * (x.ndim - 1)
    padded = np.pad(x, edge, mode="edge")
    return sum(w * padded[i : i + len(x)] for i, w in enumerate(window))


def _filter(x: NDArray, response: NDArray) -> NDArray:
    """Filter x (samples,) by a response (frames, bins) that changes."""
    num_frames = len(response)
    # Frame t is centred at sample t * HOP; Hann windows of two hops add to 1.
    padded = np.pad(x, (HOP, 2 * HOP))[: (num_frames + 1) * HOP]
    blocks = padded.astype(np.float32).reshape(num_frames + 1, HOP)
    window = 0.5 - 0.5 * np.cos(np.pi * np.arange(2 * HOP) / HOP)
    frames = np.hstack((blocks[:-1], blocks[1:])) * window.astype(np.float32)
    spectra = np.fft.rfft(frames, FFT_SIZE) * response
    frames = np.fft.irfft(spectra, FFT_SIZE)
    num_blocks = FFT_SIZE // HOP
    y = np.zeros((num_frames + num_blocks, HOP))
    for block in range(num_blocks):
        y[block : block + num_frames] += frames[
            :, block * HOP : (block + 1) * HOP
        ]
    return y.reshape(-1)[HOP : HOP + len(x)]
