"""Measures of quality of recordings that are known."""

import math

import pytest
import torch

from custom_modules.quality import LogDuration, LogNorm, SignalToNoise

ONE = torch.ones(1)


def pausing_speech(snr, seconds=4, sample_rate=16000):
    """Noise bursts of half the time over a floor, of a given SNR in dB."""
    generator = torch.Generator().manual_seed(0)
    wavs = torch.randn(2, seconds * sample_rate, generator=generator)
    speech, noise = wavs
    is_on = (torch.arange(len(speech)) // 4000) % 2 == 0
    return 0.1 * speech * is_on + 0.1 * 10 ** (-snr / 20) * noise


@pytest.mark.parametrize("snr", [5, 10, 20, 40])
def test_the_estimate_is_near_the_snr_of_speech_that_pauses(snr):
    estimate = SignalToNoise()(pausing_speech(snr), 16000, ONE)
    assert estimate == pytest.approx(snr, abs=1.5)


def test_the_estimate_does_not_depend_on_the_level():
    wav = pausing_speech(15)
    first, second = (SignalToNoise()(x, 16000, ONE) for x in (wav, 0.01 * wav))
    assert first == pytest.approx(second, abs=1e-2)


@pytest.mark.parametrize(
    ("wav", "expected"),
    [
        (torch.zeros(16000), 0.0),
        (torch.cat([torch.zeros(8000), torch.rand(8000)]), 60.0),
        (torch.full((100,), 0.5), 0.0),
    ],
    ids=["silent", "digital pauses", "shorter than a frame"],
)
def test_limit_cases_of_the_estimate(wav, expected):
    assert SignalToNoise()(wav, 16000, ONE) == expected


def test_duration_and_norm_are_logarithms():
    wav = torch.zeros(24000)
    assert LogDuration()(wav, 8000, ONE) == pytest.approx(math.log(3))
    embedding = torch.tensor([3.0, 4.0])
    assert LogNorm()(wav, 8000, embedding) == pytest.approx(math.log(5))


def test_names_differ():
    names = {m.name for m in (LogDuration, LogNorm, SignalToNoise)}
    assert len(names) == 3
