"""Synthetic acoustics: channels, background noise and rooms.

Pure functions of their arguments, as `synthetic_speech`.
"""

from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from synthetic_speech import SAMPLE_RATE


class Channel(NamedTuple):
    """What happens to all speech of a session.

    Arguments
    ---------
    equaliser : NDArray
        Coefficients in dB of cos(pi k x), k = 1, 2, ..., with x from 0 to
        1 along the mel scale.
    low_cut, high_cut : float
        Band limits in Hz, where 3 dB are lost.
    level : float
        Power in dB of full scale.
    snr : float
        Speech over background noise in dB.
    noise_slope : float
        The background's spectrum in dB per octave.
    """

    equaliser: NDArray
    low_cut: float
    high_cut: float
    level: float
    snr: float
    noise_slope: float


def draw_channel(rng: Generator) -> Channel:
    """Draw the channel of a session.

    The spreads set how hard the corpus is. They were chosen once, by the
    EER of long-term Fbank statistics, before any network saw the corpus.

    Arguments
    ---------
    rng : Generator
        Source of randomness.

    Returns
    -------
    channel : Channel

    Example
    -------
    >>> 15 <= draw_channel(np.random.default_rng(0)).snr <= 30
    True
    """
    return Channel(
        equaliser=rng.normal(0.0, 1.0, 4) * (2.0, 1.5, 1.0, 0.7),
        low_cut=rng.uniform(30.0, 150.0),
        high_cut=rng.uniform(5000.0, 8000.0),
        level=rng.uniform(-30.0, -22.0),
        snr=rng.uniform(15.0, 30.0),
        noise_slope=rng.uniform(-8.0, -3.0),
    )


def transmit(wav: NDArray, channel: Channel, rng: Generator) -> NDArray:
    """Add a background to speech and send both through a channel.

    Arguments
    ---------
    wav : NDArray
        Speech (samples,).
    channel : Channel
        The session's.
    rng : Generator
        Source of the background noise.

    Returns
    -------
    wav : NDArray
        (samples,) at the channel's level, lower where it would clip.

    Example
    -------
    >>> rng = np.random.default_rng(0)
    >>> channel = draw_channel(rng)
    >>> wav = transmit(rng.normal(size=8000), channel, rng)
    >>> bool(np.isclose(10 * np.log10(np.mean(wav**2)), channel.level))
    True
    """
    background = coloured_noise(len(wav), channel.noise_slope, rng)
    gain = np.sqrt(np.mean(wav**2)) * 10 ** (-channel.snr / 20)
    size = _fft_size(len(wav))
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    mels = np.log1p(frequencies / 700) / np.log1p(SAMPLE_RATE / 2 / 700)
    decibels = sum(
        gain_db * np.cos(np.pi * k * mels)
        for k, gain_db in enumerate(channel.equaliser, start=1)
    )
    # Butterworth's magnitudes: second order below, eighth above.
    low = np.maximum(frequencies, 1.0) / channel.low_cut
    high = frequencies / channel.high_cut
    response = 10 ** (decibels / 20) / np.sqrt((1 + low**-4) * (1 + high**16))
    spectrum = np.fft.rfft(wav + gain * background, size) * response
    wav = np.fft.irfft(spectrum, size)[: len(wav)]
    wav *= 10 ** (channel.level / 20) / np.sqrt(np.mean(wav**2))
    return wav / max(1.0, np.abs(wav).max() / 0.98)


def coloured_noise(num_samples: int, slope: float, rng: Generator) -> NDArray:
    """Gaussian noise with a straight spectrum over log frequency.

    Arguments
    ---------
    num_samples : int
        Length.
    slope : float
        dB per octave above 50 Hz: 0 is white, -3 pink, -6 brown.
    rng : Generator
        Source of randomness.

    Returns
    -------
    noise : NDArray
        (num_samples,), of unit power.

    Example
    -------
    >>> noise = coloured_noise(8000, -3.0, np.random.default_rng(0))
    >>> bool(np.isclose(np.mean(noise**2), 1.0))
    True
    """
    size = _fft_size(num_samples)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    frequencies = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    octaves = np.log2(np.maximum(frequencies, 50.0) / 50.0)
    spectrum *= 10 ** (slope * octaves / 20)
    noise = np.fft.irfft(spectrum, size)[:num_samples]
    return noise / np.sqrt(np.mean(noise**2))


def room_impulse_response(rt60: float, rng: Generator) -> NDArray:
    """Simulate a room: direct path, early reflections, diffuse tail.

    The direct path is the first sample. Reflections and tail lose 60 dB in
    `rt60` seconds; the tail is Gaussian noise (Polack's model) and sets in
    while the reflections, at 3 to 40 ms, are still single.

    Arguments
    ---------
    rt60 : float
        Reverberation time in seconds, positive.
    rng : Generator
        Source of randomness.

    Returns
    -------
    rir : NDArray
        (samples,), 1.1 rt60 long; its peak is the direct path, of 1.

    Raises
    ------
    ValueError
        If the reverberation time is not positive.

    Example
    -------
    >>> len(room_impulse_response(0.5, np.random.default_rng(0)))
    8800
    """
    if rt60 <= 0:
        raise ValueError(f"rt60 must be positive, in seconds, not {rt60}")
    rir = rng.standard_normal(round(1.1 * rt60 * SAMPLE_RATE))
    onset = round(rng.uniform(0.005, 0.02) * SAMPLE_RATE)
    rir[:onset] = 0.0
    reflections = rng.integers(0.003 * SAMPLE_RATE, 0.04 * SAMPLE_RATE, 8)
    rir[reflections] += rng.uniform(2.0, 8.0, 8) * rng.choice((-1, 1), 8)
    rir *= 10 ** (-3 * np.arange(len(rir)) / (rt60 * SAMPLE_RATE))
    # Direct to reverberant energy: from a distant to a close microphone.
    ratio = rng.uniform(0.0, 10.0)
    rir *= 10 ** (-ratio / 20) / np.sqrt(np.sum(rir**2))
    rir[0] = 1.0
    return rir / max(1.0, np.abs(rir[1:]).max())


def _fft_size(num_samples: int) -> int:
    """Next power of two: lengths with large prime factors take 10 times."""
    return 1 << (num_samples - 1).bit_length()
