"""Channels and rooms against what was asked of them."""

import numpy as np
import pytest
from synthetic_acoustics import draw_channel, room_impulse_response, transmit
from synthetic_speech import SAMPLE_RATE


def test_a_channel_colours_noise_by_its_equaliser_and_level():
    """White noise in, so that the output's spectrum is the channel's."""
    channel = draw_channel(np.random.default_rng(0))._replace(
        equaliser=np.array([6.0]), low_cut=10.0, high_cut=1e5, snr=100.0
    )
    rng = np.random.default_rng(1)
    wav = transmit(rng.standard_normal(1 << 17), channel, rng)
    assert 10 * np.log10(np.mean(wav**2)) == pytest.approx(channel.level)
    power = np.abs(np.fft.rfft(wav)) ** 2
    frequencies = np.fft.rfftfreq(len(wav), 1 / SAMPLE_RATE)
    # cos(0) at 0 Hz, cos(pi) at half the sample rate: 12 dB between them.
    low = power[(frequencies > 50) & (frequencies < 100)].mean()
    high = power[frequencies > 7900].mean()
    assert 10 * np.log10(low / high) == pytest.approx(12.0, abs=1.0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rt60", [0.2, 0.45, 0.7])
def test_a_room_reverberates_as_long_as_requested(rt60, seed):
    """Schroeder's backward integration of the tail, -5 to -25 dB."""
    rir = room_impulse_response(rt60, np.random.default_rng(seed))
    assert np.argmax(np.abs(rir)) == 0
    tail = rir[round(0.04 * SAMPLE_RATE) :]
    decay = np.cumsum(tail[::-1] ** 2)[::-1]
    decibels = 10 * np.log10(decay / decay[0])
    fitted = np.flatnonzero((decibels < -5) & (decibels > -25))
    slope, _ = np.polyfit(fitted / SAMPLE_RATE, decibels[fitted], 1)
    assert -60 / slope == pytest.approx(rt60, rel=0.2)
