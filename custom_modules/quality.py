"""What makes a recording easy or hard to verify, as one number.

For calibration: each measure is called with a waveform, its rate and its
embedding, and has a `name` for the report.
"""

import math

import torch
from torch import Tensor

FRAME_SECONDS = 0.025
LOUD, QUIET = 0.9, 0.1  # quantiles of the frames' energies
MAX_SNR = 60.0  # dB


class LogDuration:
    """Natural logarithm of the duration in s.

    Example
    -------
    >>> LogDuration()(torch.zeros(16000), 16000, torch.ones(2))
    0.0
    """

    name = "log duration"

    def __call__(
        self, wav: Tensor, sample_rate: int, embedding: Tensor
    ) -> float:
        """(samples,), Hz, (emb_dim,) → number."""
        return math.log(len(wav) / sample_rate)


class LogNorm:
    """Natural logarithm of the embedding's length.

    Example
    -------
    >>> LogNorm()(torch.zeros(16000), 16000, torch.tensor([0.0, 1.0]))
    0.0
    """

    name = "log embedding norm"

    def __call__(
        self, wav: Tensor, sample_rate: int, embedding: Tensor
    ) -> float:
        """(samples,), Hz, (emb_dim,) → number."""
        return math.log(float(torch.linalg.vector_norm(embedding.double())))


class SignalToNoise:
    """Estimate of the SNR in dB: loud frames against quiet ones.

    The energy of frames of 25 ms, at its 90 % quantile less at its 10 %
    quantile, over the latter. Speech pauses, so the quiet frames are the
    noise; where it does not pause the estimate is too low. From 0 to 60 dB,
    the latter for digital silence.

    Example
    -------
    >>> quiet, loud = torch.full((400 * 50,), 0.01), torch.full((20000,), 0.1)
    >>> SignalToNoise()(torch.cat([quiet, loud]), 16000, torch.ones(1))
    19.956
    """

    name = "SNR estimate"

    def __call__(
        self, wav: Tensor, sample_rate: int, embedding: Tensor
    ) -> float:
        """(samples,), Hz, (emb_dim,) → number."""
        frame = max(1, min(len(wav), round(FRAME_SECONDS * sample_rate)))
        frames = wav[: len(wav) // frame * frame].double().view(-1, frame)
        energies = frames.square().mean(dim=1)
        noise, speech = torch.quantile(
            energies, energies.new_tensor([QUIET, LOUD])
        ).tolist()
        if speech <= noise:
            return 0.0
        if noise == 0:
            return MAX_SNR
        snr = 10 * math.log10((speech - noise) / noise)
        return round(min(max(snr, 0.0), MAX_SNR), 3)
