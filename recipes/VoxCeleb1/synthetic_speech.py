"""Synthetic speech: a source-filter synthesiser of babbled syllables.

Glottal pulses (Rosenberg, "Effect of glottal pulse shape on the quality of
natural vowels", 1971, https://doi.org/10.1121/1.1912389, type C) and noise
pass through a cascade of resonators (Klatt, "Software for a cascade/parallel
formant synthesizer", 1980, https://doi.org/10.1121/1.383940) that moves with
the phones.

Everything is a pure function of its arguments: randomness comes from the
generator that the caller passes.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from synthetic_voices import CONSONANTS, PAUSE, VOWELS, Mood, Phone, Voice

SAMPLE_RATE = 16000  # Hz
HOP = 160  # samples between frames of the tracks, 10 ms
# Five hops: a windowed frame of two, and 30 ms in which its filter rings, in
# which an average voice's narrowest resonance (70 Hz) falls by 57 dB.
FFT_SIZE = 5 * HOP
BANDWIDTHS = (70.0, 90.0, 130.0, 200.0, 300.0)  # Hz, of an average voice


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
    >>> from synthetic_voices import draw_voice
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
    >>> from synthetic_voices import draw_voice
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
    >>> from synthetic_voices import draw_mood, draw_voice
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
    >>> from synthetic_voices import draw_mood, draw_voice
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
