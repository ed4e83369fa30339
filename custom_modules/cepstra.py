"""Cepstra of whole utterances as an i-vector wants them."""

import torch
from torch import Tensor, nn

from custom_modules.lengths import feature_lengths, frame_counts

MIN_VARIANCE = 1e-10  # of a feature within an utterance


class VoicedCepstra(nn.Module):
    """Cepstra with deltas, normalised over the voiced frames.

    Each feature gets a mean of 0 and a variance of 1 over the voiced frames
    of its utterance. Deltas see the last frame repeated where an utterance
    ends, so that padding has no influence.

    Arguments
    ---------
    cepstra : nn.Module
        wavs (batch, samples) -> (batch, time, n_mfcc), SpeechBrain's ``MFCC``
        without deltas and context.
    deltas : nn.Module
        Slope over time of such features, SpeechBrain's ``Deltas``.
    vad : nn.Module
        wavs (batch, samples), counts (batch,) -> boolean (batch, time), such
        as ``EnergyVAD``; its attribute `hop_length`, in samples, is that of
        `cepstra` too.

    Example
    -------
    >>> from speechbrain.lobes.features import MFCC
    >>> from speechbrain.processing.features import Deltas
    >>> from custom_modules.vad import EnergyVAD
    >>> module = VoicedCepstra(
    ...     MFCC(deltas=False, context=False, n_mfcc=20),
    ...     Deltas(input_size=20),
    ...     EnergyVAD(sample_rate=16000),
    ... )
    >>> feats, voiced = module(torch.randn(2, 16000), torch.tensor([1.0, 0.5]))
    >>> feats.shape, voiced.sum(dim=1)
    (torch.Size([2, 101, 60]), tensor([101,  51]))
    """

    def __init__(
        self,
        cepstra: nn.Module,
        deltas: nn.Module,
        vad: nn.Module,
    ) -> None:
        super().__init__()
        self.cepstra = cepstra
        self.deltas = deltas
        self.vad = vad

    def forward(self, wavs: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        """Compute features and the mask of the frames to use.

        An utterance without a voiced frame has an empty mask; who calls it
        knows its name.

        Shape: wavs (batch, samples), lens (batch,) in samples
        -> (batch, time, 3 * n_mfcc), boolean (batch, time).
        """
        feats = self.cepstra(wavs)
        lengths = feature_lengths(lens, wavs, self.vad.hop_length)
        counts = frame_counts(lengths, feats)
        static = _hold_last(feats, counts)
        slopes = _hold_last(self.deltas(static), counts)
        feats = torch.cat([static, slopes, self.deltas(slopes)], dim=2)
        voiced = self.vad(wavs, counts)
        return _normalised(feats, voiced), voiced


def _hold_last(x: Tensor, counts: Tensor) -> Tensor:
    """Repeat the last valid frame to the end."""
    places = torch.arange(x.shape[1], device=x.device)
    places = torch.minimum(places, counts.unsqueeze(1) - 1)  # (batch, time)
    return x.gather(1, places.unsqueeze(2).expand_as(x))


def _normalised(feats: Tensor, voiced: Tensor) -> Tensor:
    weights = voiced.unsqueeze(2) / voiced.sum(1).clamp(min=1).view(-1, 1, 1)
    centred = feats - (feats * weights).sum(dim=1, keepdim=True)
    variances = (centred.square() * weights).sum(dim=1, keepdim=True)
    return centred / variances.clamp(min=MIN_VARIANCE).sqrt()
