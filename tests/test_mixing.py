"""Noise at its level and rooms as convolution, against SciPy's."""

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from custom_modules.mixing import add_noise, fft_size, reverberate

DECIBELS = 1e-4
FLOAT64 = 1e-10


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_the_snr_is_the_one_asked_for_each_utterance():
    levels = torch.tensor([[1e-3], [0.1], [1.0], [0.5]])
    wavs = levels * torch.randn(4, 16000)
    noises = levels.flip(0) * torch.rand(4, 16000)
    snrs = torch.tensor([15.0, 25.0, 0.0, -5.0])
    added = (add_noise(wavs, noises, snrs) - wavs).double()
    power, noise = wavs.double().square().mean(1), added.square().mean(1)
    torch.testing.assert_close(
        10 * torch.log10(power / noise), snrs.double(), atol=DECIBELS, rtol=0.0
    )


def test_reverberation_is_convolution_cut_and_of_the_same_power():
    wavs = torch.randn(3, 1001, dtype=torch.float64)
    rirs = torch.randn(3, 1001, dtype=torch.float64)
    for y, wav, rir in zip(reverberate(wavs, rirs), wavs, rirs, strict=True):
        expected = fftconvolve(wav.numpy(), rir.numpy())[:1001]
        gain = np.sqrt((wav.numpy() ** 2).mean() / (expected**2).mean())
        np.testing.assert_allclose(
            y.numpy(), gain * expected, rtol=0.0, atol=FLOAT64
        )


@pytest.mark.parametrize("taps", [1, 280, 1500])
def test_a_short_room_is_a_padded_one(taps):
    """No sample wraps around, whatever the size of the FFT."""
    wavs, rirs = torch.randn(2, 1001), torch.randn(2, taps)
    padded = torch.nn.functional.pad(rirs, (0, 1777))
    torch.testing.assert_close(
        reverberate(wavs, rirs), reverberate(wavs, padded)
    )


def test_the_size_of_an_fft_is_the_next_good_one():
    good = {factor * 2**n for factor in (1, 3, 5) for n in range(20)}
    for size in (*range(1, 300), 55999, 56000, 65536, 65537, 95999):
        assert fft_size(size) == min(g for g in good if g >= size)
