"""Synthetic speech, measured by methods that know nothing of it."""

import numpy as np
import pytest
from synthetic_speech import HOP, SAMPLE_RATE, Tracks, render, speak
from synthetic_voices import NUM_OFFSETS, Voice, draw_mood, draw_voice

NUM_SAMPLES = SAMPLE_RATE
FORMANTS = (600.0, 1400.0, 2500.0, 3400.0, 4400.0)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def voice():
    """A clear voice without jitter, shimmer and breath."""
    return Voice(
        f0=120.0,
        accent=0.0,
        tract=1.0,
        formant_offsets=np.zeros((NUM_OFFSETS, 5)),
        bandwidth=1.0,
        open_quotient=0.6,
        tilt=0.0,
        breath=0.0,
        jitter=0.0,
        shimmer=0.0,
        frication=1.0,
        rate=1.0,
    )


def vowel(f0, formants=FORMANTS):
    """Tracks of a vowel that does not move."""
    num_frames = NUM_SAMPLES // HOP + 1
    return Tracks(
        f0=np.full(num_frames, f0),
        formants=np.tile(formants, (num_frames, 1)),
        voicing=np.ones(num_frames),
        noise=np.zeros(num_frames),
        centre=np.full(num_frames, 4000.0),
        width=np.full(num_frames, 0.5),
    )


def envelope_peaks(wav, order=14):
    """Peaks in Hz of the spectral envelope, by linear prediction."""
    emphasised = np.diff(wav) * np.hanning(len(wav) - 1)
    power = np.abs(np.fft.rfft(emphasised, 2 * len(wav))) ** 2
    lags = np.fft.irfft(power)[: order + 1]
    index = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    predictor = np.linalg.solve(lags[index], lags[1:])
    roots = np.roots((1.0, *-predictor))
    is_narrow = np.abs(roots) > 0.9
    angles = np.angle(roots[is_narrow & (roots.imag > 0)])
    return np.sort(angles) * SAMPLE_RATE / (2 * np.pi)


@pytest.mark.parametrize("f0", [90.0, 133.0, 240.0])
def test_pitch_is_the_requested_one(f0, voice, rng):
    """By autocorrelation, which knows nothing of the pulses, to 2 %."""
    wav = render(vowel(f0), voice, 0.0, NUM_SAMPLES, rng)[4000:12000]
    lags = np.fft.irfft(np.abs(np.fft.rfft(wav, 16384)) ** 2)
    shortest, longest = SAMPLE_RATE // 350, SAMPLE_RATE // 65
    period = shortest + np.argmax(lags[shortest:longest])
    assert SAMPLE_RATE / period == pytest.approx(f0, rel=0.02)


@pytest.mark.parametrize("scale", [1.0, 1.15])
def test_formants_are_the_requested_ones(scale, voice, rng):
    """By linear prediction; within half of the spacing of the harmonics."""
    formants = scale * np.array(FORMANTS)
    wav = render(vowel(100.0, formants), voice, 0.0, NUM_SAMPLES, rng)
    peaks = envelope_peaks(wav[4000:12000])
    for formant in formants[:4]:
        assert np.abs(peaks - formant).min() < 50.0


def test_tilt_lowers_high_frequencies_by_its_decibels_per_octave(voice):
    """Between 1 and 4 kHz, two octaves: the ratio of two spectra."""
    flat, steep = (
        render(vowel(100.0), voice, tilt, NUM_SAMPLES, np.random.default_rng(1))
        for tilt in (0.0, -6.0)
    )
    # Without the onset, bins are 2 Hz apart; harmonics are every 100 Hz.
    window = np.hanning(8000)
    flat, steep = (
        np.abs(np.fft.rfft(wav[4000:12000] * window)) for wav in (flat, steep)
    )
    ratio = steep / flat
    decibels = 20 * np.log10(ratio[4000 // 2] / ratio[1000 // 2])
    assert decibels == pytest.approx(-12.0, abs=0.1)


def test_noise_sits_at_its_centre(voice, rng):
    tracks = vowel(100.0)
    silent = tracks._replace(voicing=tracks.noise, noise=tracks.voicing)
    wav = render(silent, voice, 0.0, NUM_SAMPLES, rng)
    power = np.abs(np.fft.rfft(wav)) ** 2
    octaves = np.log2(np.arange(1, len(power)) / 4000.0)
    # Power of a Gaussian amplitude in octaves, over linear frequency: its
    # median lies above the centre by less than a quarter of an octave.
    median = octaves[np.searchsorted(np.cumsum(power[1:]) / power.sum(), 0.5)]
    assert 0.0 < median < 0.25


def test_same_generator_same_speech(rng):
    voice, mood = draw_voice("f", rng), draw_mood(rng)
    first, second = (
        speak(voice, mood, 8000, np.random.default_rng(3)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("num_samples", [10 * HOP, 10 * HOP + 1, 8123])
def test_speech_has_the_requested_length(num_samples, rng):
    voice, mood = draw_voice("m", rng), draw_mood(rng)
    wav = speak(voice, mood, num_samples, rng)
    assert wav.shape == (num_samples,)
    assert np.isfinite(wav).all()
