"""Waveforms with noise, and in rooms: batches, on any device."""

import math

import torch
from torch import Tensor


def add_noise(wavs: Tensor, noises: Tensor, snrs: Tensor) -> Tensor:
    """Mix noise in at a signal-to-noise ratio.

    Arguments
    ---------
    wavs, noises : Tensor
        (batch, samples).
    snrs : Tensor
        (batch,) in dB: 10 · log10 of the ratio of the mean squares.

    Returns
    -------
    noisy : Tensor
        (batch, samples).

    Example
    -------
    >>> add_noise(torch.ones(1, 2), 5 * torch.ones(1, 2), torch.tensor([20.0]))
    tensor([[1.1000, 1.1000]])
    """
    gains = _gains(wavs, noises) * 10.0 ** (-snrs / 20.0)
    return torch.addcmul(wavs, gains.unsqueeze(1), noises)


def fft_size(num_samples: int) -> int:
    """The smallest good size of an FFT: 2ⁿ, 3 · 2ⁿ or 5 · 2ⁿ.

    A GPU plans each size anew, so they are few.

    Example
    -------
    >>> fft_size(48000 + 8000 - 1), fft_size(48000 + 32000 - 1)
    (65536, 81920)
    """
    power = 1 << (num_samples - 1).bit_length()
    return min(
        size
        for size in (power * 5 // 8, power * 3 // 4, power)
        if size >= num_samples
    )


def reverberate(wavs: Tensor, rirs: Tensor) -> Tensor:
    """Convolve each waveform with its own room, keeping length and power.

    Arguments
    ---------
    wavs : Tensor
        (batch, samples).
    rirs : Tensor
        (batch, taps), from the direct path on; the fewer, the faster.

    Returns
    -------
    reverberant : Tensor
        (batch, samples).

    Example
    -------
    >>> rirs = torch.tensor([[0.0, 1.0]])  # one sample's delay
    >>> reverberate(torch.tensor([[3.0, 4.0, 0.0]]), rirs).round(decimals=3)
    tensor([[0., 3., 4.]])
    """
    size = fft_size(wavs.shape[1] + rirs.shape[1] - 1)
    spectra = torch.fft.rfft(wavs, size).mul_(torch.fft.rfft(rirs, size))
    reverberant = torch.fft.irfft(spectra, size)[:, : wavs.shape[1]]
    return reverberant.mul_(_gains(wavs, reverberant).unsqueeze(1))


def _gains(wavs: Tensor, others: Tensor) -> Tensor:
    """Factors (batch,) that give `others` the power of `wavs`, finite."""
    smallest = math.sqrt(torch.finfo(wavs.dtype).tiny)
    powers = torch.linalg.vector_norm(others, dim=1).clamp(min=smallest)
    return torch.linalg.vector_norm(wavs, dim=1) / powers
